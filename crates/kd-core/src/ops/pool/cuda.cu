// Pooling of images in NHWC order: the twin of cpu.rs. One thread an output value, in the backward
// one an input value, which gathers: no atomics.

struct Windows {
    int height, width, channels, out_height, out_width, kernel_height, kernel_width, stride_y,
        stride_x, top, left;
};

// The place of a value in its image, (N, rows, columns, channels).
struct Pixel {
    int image, row, column, channel;
    __device__ Pixel(u32 i, int rows, int columns, int channels) {
        channel = i % channels;
        i /= channels;
        column = i % columns;
        i /= columns;
        row = i % rows;
        image = i / rows;
    }
};

__device__ inline u32 input(const Windows &w, int image, int row, int column, int channel) {
    return ((u32)(image * w.height + row) * w.width + column) * w.channels + channel;
}

__device__ inline u32 output(const Windows &w, int image, int row, int column, int channel) {
    return ((u32)(image * w.out_height + row) * w.out_width + column) * w.channels + channel;
}

extern "C" __global__ void max_pool(const float *x, float *y, u8 *winners, Windows w, u32 n) {
    u32 i = number();
    if (i >= n) return;
    Pixel at(i, w.out_height, w.out_width, w.channels);
    float best = 0.0f;
    int winner = -1;
    for (int ky = 0; ky < w.kernel_height; ky++) {
        for (int kx = 0; kx < w.kernel_width; kx++) {
            int row = at.row * w.stride_y + ky - w.top;
            int column = at.column * w.stride_x + kx - w.left;
            if (row < 0 || row >= w.height || column < 0 || column >= w.width) continue;
            float value = x[input(w, at.image, row, column, at.channel)];
            if (winner < 0 || value > best || value != value) {
                best = value;
                winner = ky * w.kernel_width + kx;
            }
        }
    }
    y[i] = best;
    winners[i] = winner;
}

// Each input value gathers the gradients of the windows that it won.
extern "C" __global__ void max_pool_backward(const float *grad, const u8 *winners, float *to,
                                             Windows w, u32 n) {
    u32 i = number();
    if (i >= n) return;
    Pixel at(i, w.height, w.width, w.channels);
    float sum = 0.0f;
    for (int ky = w.kernel_height - 1; ky >= 0; ky--) {
        int row = at.row + w.top - ky;
        if (row < 0 || row % w.stride_y || row / w.stride_y >= w.out_height) continue;
        for (int kx = w.kernel_width - 1; kx >= 0; kx--) {
            int column = at.column + w.left - kx;
            if (column < 0 || column % w.stride_x || column / w.stride_x >= w.out_width) continue;
            u32 from = output(w, at.image, row / w.stride_y, column / w.stride_x, at.channel);
            if (winners[from] == ky * w.kernel_width + kx) sum += grad[from];
        }
    }
    to[i] = sum;
}

// The mean over each whole image: (N, pixels, C) -> (N, C).
extern "C" __global__ void global_mean(const float *x, float *y, u32 n_pixels, u32 n_channels,
                                       u32 n) {
    u32 i = number();
    if (i >= n) return;
    x += i / n_channels * n_pixels * n_channels + i % n_channels;
    float sum = 0.0f;
    for (u32 pixel = 0; pixel < n_pixels; pixel++) sum += x[pixel * n_channels];
    y[i] = sum / (float)n_pixels;
}

// Its backward hands every pixel the same share.
extern "C" __global__ void global_mean_backward(const float *grad, float *to, u32 n_pixels,
                                                u32 n_channels, u32 n) {
    u32 i = number();
    if (i >= n) return;
    u32 image = i / (n_pixels * n_channels);
    to[i] = grad[image * n_channels + i % n_channels] / (float)n_pixels;
}
