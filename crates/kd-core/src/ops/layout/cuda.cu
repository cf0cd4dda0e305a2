// Transposes each matrix of a batch: the twin of ../layout.rs.

// to[b][j][i] = from[b][i][j], or += where add is set. A block a matrix, which lies in shared
// memory, so that both sides are read and written in their order.
extern "C" __global__ void transpose_small(const float *from, float *to, u32 n_rows, u32 n_cols,
                                           int add) {
    extern __shared__ float matrix[];
    u32 size = n_rows * n_cols;
    from += (u64)blockIdx.x * size;
    to += (u64)blockIdx.x * size;
    for (u32 i = threadIdx.x; i < size; i += THREADS) matrix[i] = from[i];
    __syncthreads();
    for (u32 i = threadIdx.x; i < size; i += THREADS) {
        float value = matrix[i % n_rows * n_cols + i / n_rows];
        to[i] = add ? to[i] + value : value;
    }
}

// The same for matrices of any size, a thread a value.
extern "C" __global__ void transpose_large(const float *from, float *to, u32 n_rows, u32 n_cols,
                                           int add, u32 n) {
    u32 i = number();
    if (i >= n) return;
    u32 size = n_rows * n_cols, place = i % size;
    float value = from[i - place + place % n_rows * n_cols + place / n_rows];
    to[i] = add ? to[i] + value : value;
}
