use super::*;
use crate::Stream;

fn random(stream: Stream, n: usize) -> Vec<f32> {
    let mut rng = stream.rng();
    (0..n).map(|_| rng.uniform_in(-1.0, 1.0)).collect()
}

fn naive(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    let mut c = vec![0.0; a.n_rows * b.n_cols];
    for i in 0..a.n_rows {
        for j in 0..b.n_cols {
            let mut sum = 0.0f32;
            for p in 0..a.n_cols {
                let x = a.data[i * a.row_stride + p * a.col_stride];
                let y = b.data[p * b.row_stride + j * b.col_stride];
                sum = x.mul_add(y, sum);
            }
            c[i * b.n_cols + j] = sum;
        }
    }
    c
}

#[test]
fn every_shape_and_transposition_equals_the_plain_sum_bit_for_bit() {
    let shapes = [
        (1, 1, 1),
        (1, 10, 3),
        (7, 33, 5),
        (12, 32, 16),
        (13, 31, 17),
        (25, 70, 128),
        (128, 30, 784),
        (30, 784, 128),
        (130, 129, 131),
        (3, 5, 0),
    ];
    for (m, n, k) in shapes {
        let (x, y) = (random(Stream::new(1), m * k), random(Stream::new(2), k * n));
        let lefts = [Matrix::new(&x, m, k), Matrix::new(&x, k, m).t()];
        let rights = [Matrix::new(&y, k, n), Matrix::new(&y, n, k).t()];
        for a in lefts {
            for b in rights {
                let want = naive(a, b);
                let mut c = vec![f32::NAN; m * n];
                gemm(&mut c, a, b, Write::Set);
                assert_eq!(c, want, "{m} x {n} x {k}");
                gemm(&mut c, a, b, Write::Add);
                let twice: Vec<f32> = want.iter().map(|v| v + v).collect();
                assert_eq!(c, twice, "{m} x {n} x {k}, added");
            }
        }
    }
}

/// `n` values of which a share `used` is not zero; some of the zeros are -0.
fn partly(stream: Stream, n: usize, used: f32) -> Vec<f32> {
    let mut rng = stream.rng();
    let mut value = || match (rng.uniform() < used, rng.uniform_in(-1.0, 1.0)) {
        (true, value) => value,
        (false, value) => 0.0 * value,
    };
    (0..n).map(|_| value()).collect()
}

#[test]
fn leaving_out_what_is_zero_changes_no_bit() {
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for (m, n, k) in [(128, 64, 70), (70, 130, 128), (1, 300, 1200), (200, 97, 33)] {
        for (used, write) in
            [0.0, 0.1, 0.4, 1.0].into_iter().zip([Write::Set, Write::Add].repeat(2))
        {
            let (x, y) = (partly(Stream::new(5), m * k, used), random(Stream::new(6), k * n));
            for a in [Matrix::new(&x, m, k), Matrix::new(&x, k, m).t()] {
                for b in [Matrix::new(&y, k, n), Matrix::new(&y, n, k).t()] {
                    let before = if write == Write::Add { 2.0 } else { 0.0 };
                    let want: Vec<f32> = naive(a, b).iter().map(|v| v + before).collect();
                    let mut c = vec![before; m * n];
                    gemm(&mut c, a, b, write);
                    assert_eq!(bits(&c), bits(&want), "{m} x {n} x {k}, {used}");
                    assert_eq!(sparse::pays(a, b), used < 0.5 && m * n * k >= 1 << 18);
                    let out = Out {
                        data: c.as_mut_ptr(),
                        len: c.len(),
                        row_stride: n,
                        col_stride: 1,
                        write,
                    };
                    c.fill(before);
                    sparse::run(a, b, out);
                    assert_eq!(bits(&c), bits(&want), "{m} x {n} x {k}, {used}, all listed");
                }
            }
        }
    }
}

#[test]
fn a_sum_too_small_for_f32_has_one_sign() {
    let (tiny, y) = (1e-30f32, vec![-1e-30f32; 64 * 64]);
    let mut x = vec![0.0; 64 * 64];
    x.iter_mut().step_by(64).for_each(|first| *first = tiny);
    let mut c = vec![f32::NAN; 64 * 64];
    for used in [0.0, 1.0] {
        // First all but one value of a row are zero, then none, and their products are too small as well.
        x.iter_mut().filter(|v| **v == 0.0).for_each(|v| *v = used * 1e-40);
        gemm(&mut c, Matrix::new(&x, 64, 64), Matrix::new(&y, 64, 64), Write::Set);
        assert!(c.iter().all(|v| v.to_bits() == 0), "{used}");
    }
}

#[test]
fn the_thread_count_changes_nothing() {
    let (x, y) = (random(Stream::new(3), 200 * 300), random(Stream::new(4), 300 * 250));
    let product = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let mut c = vec![0.0; 200 * 250];
        let (a, b) = (Matrix::new(&x, 200, 300), Matrix::new(&y, 300, 250));
        pool.install(|| gemm(&mut c, a, b, Write::Set));
        c
    };
    assert_eq!(product(1), product(3));
}
