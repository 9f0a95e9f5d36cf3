//! The picture: memory of both servers above, p99 of admitted requests below. SVG written by hand.

use std::{fmt::Write as _, time::Duration};

use super::{figures::Figures, mb, run::Run, seconds};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 470.0;
/// Colours for light and dark: a README follows its reader.
const STYLE: &str = "\
svg{background:#fff;font:13px system-ui,sans-serif}text{fill:#1f2328}.dim{fill:#59636e}\
.axis{stroke:#d1d9e0}.limit,.critical,.warning{stroke-width:1.5;stroke-dasharray:6 4;fill:none}\
.limit{stroke:#1f2328}.critical{stroke:#cf222e}.warning{stroke:#bf8700}\
.without,.with{fill:none;stroke-width:2;stroke-linejoin:round}.without{stroke:#cf222e}.with{stroke:#0969da}\
.name-without,.cross{fill:#cf222e;stroke:none}.name-with{fill:#0969da}.cross{font-size:20px;font-weight:bold}\
@media(prefers-color-scheme:dark){svg{background:#0d1117}text{fill:#f0f6fc}.dim{fill:#9198a1}.axis{stroke:#3d444d}\
.limit{stroke:#f0f6fc}.critical,.without{stroke:#ff7b72}.warning{stroke:#d29922}.with{stroke:#58a6ff}\
.name-without,.cross{fill:#ff7b72}.name-with{fill:#58a6ff}}";

/// A panel of the picture, with its scales.
struct Panel {
    top: f64,
    bottom: f64,
    /// Seconds at the right edge.
    end: f64,
    /// The value at the top.
    most: f64,
}

impl Panel {
    const LEFT: f64 = 62.0;
    const RIGHT: f64 = WIDTH - 112.0;

    fn x(&self, at: Duration) -> f64 {
        Self::LEFT + (Self::RIGHT - Self::LEFT) * (seconds(at) / self.end).min(1.0)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * (value / self.most).min(1.0)
    }

    fn path(&self, class: &str, points: impl Iterator<Item = (Duration, f64)>) -> String {
        let mut path = String::new();
        for (at, value) in points {
            let step = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{step}{:.1} {:.1}", self.x(at), self.y(value));
        }
        format!("<path class=\"{class}\" d=\"{path}\"/>\n")
    }

    /// A line across the panel at a value, named at its right end.
    fn line(&self, class: &str, value: f64, label: &str) -> String {
        let y = self.y(value);
        format!(
            "<path class=\"{class}\" d=\"M{} {y:.1}H{}\"/>\n<text x=\"{}\" y=\"{:.1}\">{label}</text>\n",
            Self::LEFT,
            Self::RIGHT,
            Self::RIGHT + 6.0,
            y + 4.0,
        )
    }

    /// The lower edge and some values at the left one.
    fn axes(&self, unit: &str) -> String {
        let mut text = format!(
            "<path class=\"axis\" d=\"M{} {}V{}H{}\" fill=\"none\"/>\n",
            Self::LEFT,
            self.top,
            self.bottom,
            Self::RIGHT
        );
        let step = step(self.most / 4.0);
        let mut value = 0.0;
        while value <= self.most {
            let _ = writeln!(
                text,
                "<text class=\"dim\" text-anchor=\"end\" x=\"{}\" y=\"{:.1}\">{value} {unit}</text>",
                Self::LEFT - 6.0,
                self.y(value) + 4.0,
            );
            value += step;
        }
        text
    }

    /// The times along the lower edge.
    fn times(&self) -> String {
        let mut text = String::new();
        let (step, mut at) = (step(self.end / 8.0), 0.0);
        while at <= self.end {
            let _ = writeln!(
                text,
                "<text class=\"dim\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{}\">{at} s</text>",
                self.x(Duration::from_secs_f64(at)),
                self.bottom + 18.0,
            );
            at += step;
        }
        text
    }
}

/// The next round number: 1, 2 or 5 times a power of ten.
fn step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.max(1e-9).log10().floor());
    let rounds = [1.0, 2.0, 5.0].map(|digit| digit * power);
    rounds.into_iter().find(|round| *round >= rough * 0.999).unwrap_or(10.0 * power)
}

/// Draws both runs, the one without Plimsoll first.
pub(super) fn picture(runs: &[Run], figures: &[Figures], limit: u64) -> String {
    let last = runs.iter().filter_map(|run| run.memory.last()).map(|(at, _)| seconds(*at));
    let end = last.fold(1.0, f64::max);
    let memory = Panel { top: 42.0, bottom: 290.0, end, most: mb(limit) as f64 * 1.04 };
    let windows = || figures.iter().flat_map(|it| &it.windows).map(|(_, p99)| seconds(*p99) * 1e3);
    let most = windows().fold(1.0, f64::max);
    let latency = Panel { top: 345.0, bottom: 440.0, end, most: most * 1.1 };

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-labelledby=\"title\">\n<title id=\"title\">{}</title>\n<style>{STYLE}</style>\n",
        title(runs, figures),
    );
    let heading = |y: f64, text: &str| {
        format!("<text x=\"{}\" y=\"{y}\" font-weight=\"600\">{text}</text>\n", Panel::LEFT)
    };
    svg += &heading(24.0, "Working set of a chat server that leaks, in a memory cgroup");
    svg += &memory.axes("MB");
    svg += &memory.times();
    svg += &memory.line("limit", mb(limit) as f64, "limit");
    if let Some(run) = runs.iter().find(|run| run.guard) {
        svg += &memory.line("critical", mb(run.thresholds.critical) as f64, "critical");
        svg += &memory.line("warning", mb(run.thresholds.warning) as f64, "warning");
    }
    svg += &heading(332.0, "p99 of admitted requests, each 5 s");
    svg += &latency.axes("ms");
    svg += &latency.times();
    for (run, figures) in runs.iter().zip(figures) {
        let (class, name) =
            if run.guard { ("with", "with Plimsoll") } else { ("without", "without") };
        svg += &memory.path(class, thinned(&run.memory, end));
        let p99 = figures.windows.iter().map(|(at, p99)| (*at, seconds(*p99) * 1e3));
        svg += &latency.path(class, p99);
        svg += &label(&memory, run, name);
    }
    svg + "</svg>\n"
}

/// The picture in a sentence, for those who do not see it.
fn title(runs: &[Run], figures: &[Figures]) -> String {
    let said = runs.iter().zip(figures).map(|(run, figures)| {
        let name = super::name(run.guard);
        match run.killed {
            Some(at) => format!("{name} it is killed after {:.0} s", seconds(at)),
            None => format!("{name} it levels off at {} MB", mb(figures.plateau.unwrap_or(0))),
        }
    });
    format!("A chat server that leaks: {}.", said.collect::<Vec<_>>().join("; "))
}

/// The name of a line, and the end of a server that was killed.
fn label(panel: &Panel, run: &Run, name: &str) -> String {
    let Some((at, bytes)) = run.memory.last().copied() else { return String::new() };
    let (x, y) = (panel.x(at), panel.y(mb(bytes) as f64));
    match run.killed {
        Some(killed) => format!(
            "<text class=\"cross\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">✕</text>\n\
             <text class=\"name-{name}\" x=\"{:.1}\" y=\"{:.1}\">{name}: killed after {:.0} s</text>\n",
            y + 7.0,
            x + 12.0,
            y + 24.0,
            seconds(killed),
        ),
        None => {
            // Above the lower edge, where there is room under the line.
            let class = if run.guard { "with" } else { "without" };
            format!(
                "<text class=\"name-{class}\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>\n",
                Panel::RIGHT - 8.0,
                (y + 60.0).min(panel.bottom - 8.0),
            )
        }
    }
}

/// At most a point for each pixel and a half: the highest of those that fall together, so that no
/// peak is lost.
fn thinned(memory: &[(Duration, u64)], end: f64) -> impl Iterator<Item = (Duration, f64)> {
    const POINTS: f64 = 460.0;
    let slot = move |at: Duration| (seconds(at) / end * POINTS).floor();
    memory
        .chunk_by(move |a, b| slot(a.0) == slot(b.0))
        .filter_map(|chunk| chunk.iter().max_by_key(|(_, bytes)| *bytes))
        .map(|(at, bytes)| (*at, mb(*bytes) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::run::climbing as run;

    #[test]
    fn the_picture_shows_both_servers_and_weighs_little() {
        let runs = [run(false, Some(90)), run(true, None)];
        let figures = runs.each_ref().map(Figures::of);
        let svg = picture(&runs, &figures, 512_000_000);
        assert!(svg.len() < 60_000, "{} bytes", svg.len());
        assert!(svg.contains("without: killed after 90 s") && svg.contains(">with Plimsoll<"));
        for name in ["limit", "critical", "warning"] {
            assert!(svg.contains(&format!(">{name}</text>")), "{name}");
        }
        assert_eq!(svg.matches("<path class=\"with\"").count(), 2);
        assert_eq!(svg.matches("<path class=\"without\"").count(), 2);
        assert!(svg.contains("prefers-color-scheme:dark") && !svg.contains("NaN"));
        assert!(!svg.contains("inf"), "no division by zero");
    }

    #[test]
    fn no_peak_is_lost_by_thinning() {
        let mut run = run(true, None);
        run.memory[777].1 = 999_000_000;
        let most = thinned(&run.memory, 200.0).map(|(_, mb)| mb).fold(0.0, f64::max);
        assert_eq!(most, 999.0);
        assert!(thinned(&run.memory, 200.0).count() <= 461);
    }

    #[test]
    fn axes_have_round_steps() {
        for (rough, round) in [(0.3, 0.5), (1.0, 1.0), (1.2, 2.0), (24.9, 50.0), (133.0, 200.0)] {
            assert_eq!(step(rough), round, "{rough}");
        }
    }
}
