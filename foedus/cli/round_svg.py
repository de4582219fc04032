"""A round's report as an SVG file. One law: no script, nothing from elsewhere, and every text escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foedus.cli.round_plot import last_rounds, length, percent

if TYPE_CHECKING:
    from node.api.report_answers import RoundReportAnswer, UpdateReportAnswer

WIDTH: Final = 960
_NAMES: Final = 180
_BARS: Final = 420
_ROW: Final = 44
_TOP: Final = 64
_USED, _LEFT_OUT = "#2f7d4f", "#b23b3b"


def report_svg(report: RoundReportAnswer) -> str:
    """Return the picture: one bar an update, as long as it is far from the aggregate, and why it was used or not."""
    from xml.sax.saxutils import escape

    longest = max((one.distance_micros for one in report.updates), default=0)
    height = _TOP + _ROW * len(report.updates) + 24
    title = f"Round {report.round} of {report.task}: distance to the aggregate"
    rule = f"{' + '.join((*report.pre, report.rule))} against {report.f}"
    rows = "".join(_row(one, report, place, longest) for place, one in enumerate(report.updates))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="13" role="img">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n'
        f'<text x="16" y="26" font-size="16" font-weight="bold">{escape(title)}</text>\n'
        f'<text x="16" y="46" fill="#555555">{escape(rule)}; aggregate of length '
        f"{length(report.aggregate_norm_micros)}</text>\n{rows}</svg>\n"
    )


def _row(one: UpdateReportAnswer, report: RoundReportAnswer, place: int, longest: int) -> str:
    from xml.sax.saxutils import escape

    y = _TOP + _ROW * place
    wide = max(2, _BARS * one.distance_micros // longest) if longest else 2
    fill = f'fill="{_USED}"' if not one.left_out else f'fill="none" stroke="{_LEFT_OUT}" stroke-dasharray="4 2"'
    figures = (
        f"{length(one.distance_micros)}  cosine {one.cosine_micros / 1_000_000:+.2f}  "
        f"influence {percent(one.influence_micros, 1_000_000)}  kept {last_rounds(one, report)}"
    )
    return (
        f'<text x="16" y="{y + 15}">{escape(one.participant)}</text>\n'
        f'<rect x="{_NAMES}" y="{y + 3}" width="{wide}" height="16" {fill}/>\n'
        f'<text x="{_NAMES + wide + 8}" y="{y + 16}" font-size="11">{escape(figures)}</text>\n'
        f'<text x="{_NAMES}" y="{y + 34}" font-size="11" fill="#555555">{escape(one.why)}</text>\n'
    )
