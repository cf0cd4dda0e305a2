// What all kernels share. Nothing is included, so that NVRTC needs no headers.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

// Threads of a block, unless the kernel says otherwise.
#define THREADS 256

// V neighboring values, read and written at once.
template <int V> struct alignas(4 * V) Pack {
    float at[V];
};

// The number of this thread.
__device__ inline u32 number() { return blockIdx.x * THREADS + threadIdx.x; }

__device__ inline float rectified(float x) {
    // NaN stays NaN: a diverged network must be seen.
    return x < 0.0f ? 0.0f : x;
}
