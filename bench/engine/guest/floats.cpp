// Floating point: scalar, SSE, AVX2 with FMA, x87.
#include <immintrin.h>

#include <array>
#include <bit>
#include <cmath>

#include "harness.h"

namespace bench {
namespace {

constexpr size_t side{48};
alignas(64) std::array<double, side * side> left, right, product;

void prepare_matrices() {
  uint64_t state{3};
  for (size_t i{0}; i < side * side; ++i) {
    left[i] = static_cast<double>(next_random(state) & 255) / 16;
    right[i] = static_cast<double>(next_random(state) & 255) / 16;
  }
}

uint64_t bits_of(double value) { return std::bit_cast<uint64_t>(value); }

uint64_t matmul_scalar() {
  for (size_t i{0}; i < side; ++i)
    for (size_t j{0}; j < side; ++j) {
      double sum{0};
      for (size_t k{0}; k < side; ++k) sum += left[i * side + k] * right[k * side + j];
      product[i * side + j] = sum;
    }
  return bits_of(product[7]) ^ bits_of(product[side * side - 1]);
}

uint64_t matmul_sse() {
  for (size_t i{0}; i < side; ++i)
    for (size_t j{0}; j < side; j += 4) {
      __m128d low{_mm_setzero_pd()}, high{_mm_setzero_pd()};
      for (size_t k{0}; k < side; ++k) {
        __m128d const factor{_mm_set1_pd(left[i * side + k])};
        low = _mm_add_pd(low, _mm_mul_pd(factor, _mm_load_pd(&right[k * side + j])));
        high = _mm_add_pd(high, _mm_mul_pd(factor, _mm_load_pd(&right[k * side + j + 2])));
      }
      _mm_store_pd(&product[i * side + j], low);
      _mm_store_pd(&product[i * side + j + 2], high);
    }
  return bits_of(product[7]) ^ bits_of(product[side * side - 1]);
}

__attribute__((target("avx2,fma"))) uint64_t matmul_avx2() {
  for (size_t i{0}; i < side; ++i)
    for (size_t j{0}; j < side; j += 8) {
      __m256d low{_mm256_setzero_pd()}, high{_mm256_setzero_pd()};
      for (size_t k{0}; k < side; ++k) {
        __m256d const factor{_mm256_broadcast_sd(&left[i * side + k])};
        low = _mm256_fmadd_pd(factor, _mm256_load_pd(&right[k * side + j]), low);
        high = _mm256_fmadd_pd(factor, _mm256_load_pd(&right[k * side + j + 4]), high);
      }
      _mm256_store_pd(&product[i * side + j], low);
      _mm256_store_pd(&product[i * side + j + 4], high);
    }
  return bits_of(product[7]) ^ bits_of(product[side * side - 1]);
}

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

constexpr size_t points{2048};
alignas(64) std::array<float, points> xs, ys;

void prepare_points() {
  for (size_t i{0}; i < points; ++i)
    xs[i] = static_cast<float>(i % 97) / 7, ys[i] = static_cast<float>(i % 31) / 3;
}

__attribute__((target("avx2,fma"))) uint64_t dot_avx2() {
  __m256 sum{_mm256_setzero_ps()};
  for (size_t i{0}; i < points; i += 8)
    sum = _mm256_fmadd_ps(_mm256_load_ps(&xs[i]), _mm256_load_ps(&ys[i]), sum);
  alignas(32) std::array<float, 8> parts;
  _mm256_store_ps(parts.data(), sum);
  float total{0};
  for (auto const part : parts) total += part;
  return std::bit_cast<uint32_t>(total);
}

struct Body {
  double x, y, z, vx, vy, vz, mass;
};
constexpr size_t body_count{5};
constexpr size_t body_steps{20};

uint64_t nbody() {
  std::array<Body, body_count> bodies{{{0, 0, 0, 0, 0, 0, 39.47},
                                       {4.84, -1.16, -0.10, 0.60, 2.81, -0.02, 0.037},
                                       {8.34, 4.12, -0.40, -1.01, 1.82, 0.008, 0.011},
                                       {12.89, -15.11, -0.22, 1.08, 0.86, -0.01, 0.0017},
                                       {15.37, -25.9, 0.17, 0.97, 0.59, -0.03, 0.002}}};
  for (size_t step{0}; step < body_steps; ++step) {
    for (size_t i{0}; i < body_count; ++i)
      for (size_t j{i + 1}; j < body_count; ++j) {
        Body &a{bodies[i]}, &b{bodies[j]};
        double const dx{a.x - b.x}, dy{a.y - b.y}, dz{a.z - b.z};
        double const square{dx * dx + dy * dy + dz * dz};
        double const pull{0.01 / (square * __builtin_sqrt(square))};
        a.vx -= dx * b.mass * pull, a.vy -= dy * b.mass * pull, a.vz -= dz * b.mass * pull;
        b.vx += dx * a.mass * pull, b.vy += dy * a.mass * pull, b.vz += dz * a.mass * pull;
      }
    for (auto& body : bodies) body.x += 0.01 * body.vx, body.y += 0.01 * body.vy, body.z += 0.01 * body.vz;
  }
  uint64_t sum{0};
  for (auto const& body : bodies) sum = mix(sum, bits_of(body.x));
  return sum;
}

constexpr size_t picture{24};
uint64_t mandelbrot() {
  uint64_t sum{0};
  for (size_t row{0}; row < picture; ++row)
    for (size_t column{0}; column < picture; ++column) {
      double const cx{static_cast<double>(column) * 3.0 / picture - 2},
          cy{static_cast<double>(row) * 2.0 / picture - 1};
      double x{0}, y{0};
      unsigned steps{0};
      for (; steps < 50 && x * x + y * y < 4; ++steps) {
        double const next{x * x - y * y + cx};
        y = 2 * x * y + cy;
        x = next;
      }
      sum = sum * 31 + steps;
    }
  return sum;
}

constexpr size_t samples{1024};
std::array<float, samples> real, imaginary, cosines, sines;

// The twiddle factors come from a recurrence: the C library picks its sine by processor, and so its last bits.
void prepare_fft() {
  double const angle{2 * 3.14159265358979323846 / samples}, square{angle * angle};
  double const step_sine{angle - angle * square / 6}, step_cosine{1 - square / 2 + square * square / 24};
  double cosine{1}, sine{0};
  for (size_t i{0}; i < samples; ++i) {
    cosines[i] = static_cast<float>(cosine), sines[i] = static_cast<float>(sine);
    double const next{cosine * step_cosine - sine * step_sine};
    sine = sine * step_cosine + cosine * step_sine;
    cosine = next;
  }
}

uint64_t fft() {
  for (size_t i{0}; i < samples; ++i) real[i] = static_cast<float>((i * 37) % 101), imaginary[i] = 0;
  for (size_t i{1}, j{0}; i < samples; ++i) {
    size_t bit{samples >> 1};
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) std::swap(real[i], real[j]);
  }
  for (size_t half{1}; half < samples; half *= 2)
    for (size_t start{0}; start < samples; start += 2 * half)
      for (size_t k{0}; k < half; ++k) {
        float const c{cosines[k * (samples / (2 * half))]}, s{sines[k * (samples / (2 * half))]};
        size_t const a{start + k}, b{a + half};
        float const r{real[b] * c + imaginary[b] * s}, i{imaginary[b] * c - real[b] * s};
        real[b] = real[a] - r, imaginary[b] = imaginary[a] - i;
        real[a] += r, imaginary[a] += i;
      }
  return std::bit_cast<uint32_t>(real[5]) ^ static_cast<uint64_t>(std::bit_cast<uint32_t>(imaginary[77])) << 32;
}

constexpr size_t norm_size{48};
double element(size_t i, size_t j) { return 1.0 / static_cast<double>((i + j) * (i + j + 1) / 2 + i + 1); }

uint64_t spectral_norm() {
  std::array<double, norm_size> u, v;
  u.fill(1);
  for (int round{0}; round < 2; ++round) {
    for (size_t i{0}; i < norm_size; ++i) {
      v[i] = 0;
      for (size_t j{0}; j < norm_size; ++j) v[i] += element(i, j) * u[j];
    }
    for (size_t i{0}; i < norm_size; ++i) {
      u[i] = 0;
      for (size_t j{0}; j < norm_size; ++j) u[i] += element(j, i) * v[j];
    }
  }
  return bits_of(u[0]) ^ bits_of(v[norm_size - 1]);
}

constexpr size_t x87_steps{1000};
uint64_t x87() {
  long double value{1}, sum{0};
  for (size_t i{1}; i <= x87_steps; ++i) {
    value = value * 1.0000001L + 1.0L / static_cast<long double>(i);
    sum += value * value;
  }
  return bits_of(static_cast<double>(sum));
}

constexpr std::array workloads{
    Workload{"float.matmul_scalar", side* side* side, matmul_scalar, prepare_matrices},
    Workload{"float.matmul_sse", side* side* side, matmul_sse, prepare_matrices},
    Workload{"float.matmul_avx2_fma", side* side* side, matmul_avx2, prepare_matrices, has_avx2},
    Workload{"float.dot_avx2_fma", points, dot_avx2, prepare_points, has_avx2},
    Workload{"float.nbody", body_steps, nbody},
    Workload{"float.mandelbrot", picture* picture, mandelbrot},
    Workload{"float.fft", samples, fft, prepare_fft},
    Workload{"float.spectral_norm", norm_size* norm_size, spectral_norm},
    Workload{"extra.x87", x87_steps, x87},
};

}  // namespace

std::span<Workload const> float_workloads() { return workloads; }

}  // namespace bench
