/* The sketch and the squared norm of a gradient in one pass over it.
 *
 * SketchSpec in proto/multirate/v1/run.proto fixes the map. Its signs are made
 * from the seed on the way, 64 with three multiplications, so that none need be
 * kept. Sums are of floats over a few hundred values at most and of doubles
 * beyond, without contraction to fused multiply-adds: the same bits on every
 * machine. Vectors are those of GCC and Clang. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__linux__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("avx2", "default")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))

enum { GROUP = 64, WIDTH = 2048, LONGEST = 4095, ROWS = 32, SQUARES = 8 };

INLINE uint64_t word(uint64_t seed, uint64_t k) {
  uint64_t z = seed + (k + 1) * UINT64_C(0x9E3779B97F4A7C15);
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

#define REAL float
#define UINT uint32_t
#define NAME(name) name##_float
#include "sketch.inc"

#define REAL double
#define UINT uint64_t
#define NAME(name) name##_double
#include "sketch.inc"
