//! The nearest point of a plane within the box.

use crate::Norm;

/// The least change of `point`, measured in `norm`, with `normal . change = gap` and
/// `point + change` in `[0, 1]`; when no point of the box is on that plane, the change to the corner
/// nearest to it.
///
/// At the optimum each pixel moves in the direction that closes the gap, at equal speed for
/// L-infinity and at a speed in proportion to `|normal|` for L2, until it meets the box or the plane
/// is reached: `change_i = sign_i min(speed_i t, room_i)`.
pub(super) fn toward_plane(norm: Norm, point: &[f32], normal: &[f32], gap: f64) -> Vec<f32> {
    let pixel = |(&x, &w): (&f32, &f32)| {
        let slope = f64::from(w) * gap.signum();
        let room = match slope {
            s if s > 0.0 => 1.0 - f64::from(x),
            s if s < 0.0 => f64::from(x),
            _ => 0.0,
        };
        let speed = if norm == Norm::L2 { slope.abs() } else { 1.0 };
        Pixel { slope, speed, room }
    };
    let pixels: Vec<Pixel> = point.iter().zip(normal).map(pixel).collect();
    let time = time(&pixels, gap.abs());
    let change = |p: &Pixel| ((p.speed * time).min(p.room) * p.slope.signum()) as f32;
    pixels.iter().map(change).collect()
}

/// How a pixel moves.
struct Pixel {
    /// Change of `normal . x`, toward the plane, for a change of 1.
    slope: f64,
    speed: f64,
    /// Distance to the side of the box that it moves to.
    room: f64,
}

/// The t with `sum_i |slope_i| min(speed_i t, room_i) = gap`; infinite when there is none.
///
/// The left side is concave and linear between the times when pixels meet the box, so that Newton's
/// method from 0 approaches t from below, passes at least one of those times in every iteration and
/// ends with the exact t: the closed form without sorting.
fn time(pixels: &[Pixel], gap: f64) -> f64 {
    let (mut time, mut n_before) = (0.0, usize::MAX);
    loop {
        let (mut reached, mut rate, mut n_moving) = (0.0, 0.0, 0);
        for p in pixels {
            if p.speed * time < p.room {
                rate += p.slope.abs() * p.speed;
                n_moving += 1;
            } else {
                reached += p.slope.abs() * p.room;
            }
        }
        if n_moving == 0 {
            return f64::INFINITY;
        }
        if n_moving >= n_before {
            return time;
        }
        (time, n_before) = ((gap - reached) / rate, n_moving);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kd_core::Stream;
    use kd_core::rng::Rng;

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    fn assert_near(got: &[f32], want: &[f32]) {
        let near = got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near && got.len() == want.len(), "{got:?}, not {want:?}");
    }

    #[test]
    fn changes_by_hand() {
        // 2 t + 1 t = 0.6.
        let change = toward_plane(Norm::Linf, &[0.5, 0.5], &[2.0, -1.0], 0.6);
        assert_near(&change, &[0.2, -0.2]);
        // (2, -1) * 0.6 / 5.
        let change = toward_plane(Norm::L2, &[0.5, 0.5], &[2.0, -1.0], 0.6);
        assert_near(&change, &[0.24, -0.12]);
        // The other way round.
        let change = toward_plane(Norm::L2, &[0.5, 0.5], &[2.0, -1.0], -0.6);
        assert_near(&change, &[-0.24, 0.12]);
        // The first pixel stops after 0.1, with 0.4 left for the second.
        let change = toward_plane(Norm::Linf, &[0.9, 0.5], &[2.0, -1.0], 0.6);
        assert_near(&change, &[0.1, -0.4]);
        let change = toward_plane(Norm::L2, &[0.9, 0.5], &[2.0, -1.0], 0.6);
        assert_near(&change, &[0.1, -0.4]);
    }

    #[test]
    fn the_edges_by_hand() {
        for norm in [Norm::Linf, Norm::L2] {
            // Out of reach: to the corner.
            assert_near(&toward_plane(norm, &[0.9, 0.5], &[2.0, -1.0], 5.0), &[0.1, -0.5]);
            // On the plane already.
            assert_near(&toward_plane(norm, &[0.9, 0.0], &[2.0, -1.0], 0.0), &[0.0, 0.0]);
            // No plane at all, and a pixel that does not matter.
            assert_near(&toward_plane(norm, &[0.9, 0.5], &[0.0, 0.0], 1.0), &[0.0, 0.0]);
            assert_near(&toward_plane(norm, &[0.9, 0.5], &[0.0, 1.0], 0.25), &[0.0, 0.25]);
        }
    }

    /// The same change by bisection over its length along the path that the optimality conditions
    /// give: in its own words, with clamps instead of rooms.
    fn by_bisection(norm: Norm, point: &[f32], normal: &[f32], gap: f64) -> Vec<f32> {
        let change = |t: f64| -> Vec<f32> {
            let pixels = point.iter().zip(normal);
            let moved = pixels.map(|(&x, &w)| {
                let w = f64::from(w) * gap.signum();
                let direction = match norm {
                    Norm::L2 => w,
                    _ if w == 0.0 => 0.0,
                    _ => w.signum(),
                };
                ((f64::from(x) + t * direction).clamp(0.0, 1.0) - f64::from(x)) as f32
            });
            moved.collect()
        };
        let (mut low, mut high) = (0.0, 1e6);
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            let short = dot(&change(middle), normal) * gap.signum() < gap.abs();
            (low, high) = if short { (middle, high) } else { (low, middle) };
        }
        change(low)
    }

    /// An image with some pixels at 0 and 1, and a plane.
    fn problem(rng: &mut Rng) -> (Vec<f32>, Vec<f32>, f64) {
        let point: Vec<f32> = (0..12).map(|_| rng.uniform_in(-0.5, 1.5).clamp(0.0, 1.0)).collect();
        let normal: Vec<f32> = (0..12).map(|_| rng.normal()).collect();
        (point, normal, f64::from(rng.uniform_in(-3.0, 3.0)))
    }

    #[test]
    fn changes_agree_with_bisection() {
        let mut rng = Stream::new(3).rng();
        for _ in 0..300 {
            let (point, normal, gap) = problem(&mut rng);
            for norm in [Norm::Linf, Norm::L2] {
                let got = toward_plane(norm, &point, &normal, gap);
                let want = by_bisection(norm, &point, &normal, gap);
                let near = got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-5);
                assert!(near, "{norm:?} {got:?}, not {want:?}");
            }
        }
    }

    #[test]
    fn no_point_of_the_plane_and_the_box_is_nearer() {
        let mut rng = Stream::new(4).rng();
        let mut n_tried = 0;
        for _ in 0..100 {
            let (point, normal, gap) = problem(&mut rng);
            for norm in [Norm::Linf, Norm::L2] {
                let length = norm.length(&toward_plane(norm, &point, &normal, gap));
                for _ in 0..50 {
                    let from: Vec<f32> = point.iter().map(|_| rng.uniform()).collect();
                    let left = gap - dot(&normal, &from) + dot(&normal, &point);
                    let step = toward_plane(norm, &from, &normal, left);
                    let other: Vec<f32> = from.iter().zip(&step).map(|(x, d)| x + d).collect();
                    if (left - dot(&normal, &step)).abs() < 1e-5 {
                        n_tried += 1;
                        assert!(norm.distance(&other, &point) >= length - 1e-5);
                    }
                }
            }
        }
        assert!(n_tried > 1000, "{n_tried}");
    }
}
