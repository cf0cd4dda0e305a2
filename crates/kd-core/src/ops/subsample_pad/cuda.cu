// Every stride-th pixel between channels of zeros: the twin of mod.rs, a thread a value that is
// written. Images are (N, height, width, channels).

// y = x[:, ::stride, ::stride, :] between n_zeros zero channels on both sides.
extern "C" __global__ void subsample(const float *x, float *y, int height, int width, int channels,
                                     int stride, int n_zeros, u32 n) {
    u32 i = number();
    if (i >= n) return;
    int out_height = (height + stride - 1) / stride, out_width = (width + stride - 1) / stride;
    Pixel at(i, out_height, out_width, channels + 2 * n_zeros);
    int channel = at.channel - n_zeros;
    bool inside = channel >= 0 && channel < channels;
    u32 pixel = ((u32)at.image * height + at.row * stride) * width + at.column * stride;
    y[i] = inside ? x[pixel * channels + channel] : 0.0f;
}

extern "C" __global__ void subsample_backward(const float *grad, float *to, int height, int width,
                                              int channels, int stride, int n_zeros, u32 n) {
    u32 i = number();
    if (i >= n) return;
    int out_height = (height + stride - 1) / stride, out_width = (width + stride - 1) / stride;
    Pixel at(i, height, width, channels);
    bool taken = at.row % stride == 0 && at.column % stride == 0;
    u32 pixel = ((u32)at.image * out_height + at.row / stride) * out_width + at.column / stride;
    to[i] = taken ? grad[pixel * (channels + 2 * n_zeros) + n_zeros + at.channel] : 0.0f;
}
