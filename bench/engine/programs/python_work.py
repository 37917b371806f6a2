"""What Python programs do: objects, dictionaries, strings, regular expressions, JSON, numbers. Prints a checksum of the results."""
import hashlib
import json
import re


class Vector:
    def __init__(self, x, y, z):
        self.x, self.y, self.z = x, y, z

    def __add__(self, other):
        return Vector(self.x + other.x, self.y + other.y, self.z + other.z)

    def dot(self, other):
        return self.x * other.x + self.y * other.y + self.z * other.z


def objects():
    total, step = Vector(0, 0, 0), Vector(1, 2, 3)
    for _ in range(30000):
        total = total + step
    return total.dot(step)


def numbers():
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)
    sieve = bytearray([1]) * 60000
    for i in range(2, 250):
        if sieve[i]:
            sieve[i * i::i] = bytes(len(range(i * i, 60000, i)))
    return fib(20) + sum(sieve) + pow(3, 5000) % 1000007 + int(sum(i * 0.5 for i in range(30000)))


def words(text):
    counts = {}
    for word in text.split():
        counts[word] = counts.get(word, 0) + 1
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def expressions(text):
    return len(re.findall(r"\b(\w+)-(\d+)\b", text)) + len(re.sub(r"[aeiou]{2}", "*", text))


def documents():
    document = [{"id": i, "name": f"item-{i}", "tags": ["a", "b", str(i % 7)], "price": i / 8} for i in range(2500)]
    return json.dumps(json.loads(json.dumps(document)), sort_keys=True)


def queens(size):
    def place(row, columns, left, right):
        if row == size:
            return 1
        return sum(place(row + 1, columns | {c}, left | {c + row}, right | {c - row})
                   for c in range(size) if c not in columns and c + row not in left and c - row not in right)
    return place(0, frozenset(), frozenset(), frozenset())


def main():
    digest = hashlib.sha256()
    for _ in range(8):
        digest.update(repr(round_of_work()).encode())
    print(digest.hexdigest())


def round_of_work():
    text = " ".join(f"word{i * i % 977}-{i % 31} aeon queue" for i in range(12000))
    return [objects(), numbers(), words(text)[:50], expressions(text), documents(), queens(6)]


main()
