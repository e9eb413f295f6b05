import Foundation

/// A chart as inline SVG, whose colours are those of the page's style sheet.
struct ReportChart {
    /// What a side of the chart measures.
    struct Axis {
        let title: String
        let low: Double
        let high: Double
        var isLogarithmic = false
        let ticks: [(value: Double, label: String)]

        /// Where a value lies between the axis' ends, 0 to 1.
        func part(_ value: Double) -> Double {
            let part =
                isLogarithmic ? log10(max(value, low) / low) / log10(high / low) : (value - low) / (high - low)
            return min(max(part, 0), 1)
        }
    }

    /// The roles that the style sheet has colours for.
    enum Style: String {
        case main, positive, negative, chance
    }

    let name: String
    let x: Axis
    let y: Axis
    private var marks: [String] = []
    private var legend: [(style: Style, text: String)] = []
    private static let (width, height) = (400.0, 300.0)
    private static let (left, right, top, bottom) = (48.0, 386.0, 26.0, 252.0)

    /// - Parameter name: what the chart shows, for those who do not see it.
    init(name: String, x: Axis, y: Axis) {
        self.name = name
        self.x = x
        self.y = y
    }

    private func xPixel(_ value: Double) -> Double { Self.left + x.part(value) * (Self.right - Self.left) }
    private func yPixel(_ value: Double) -> Double { Self.bottom - y.part(value) * (Self.bottom - Self.top) }
    private static func text(_ pixel: Double) -> String { String(format: "%.1f", pixel) }

    private func path(_ points: [(x: Double, y: Double)]) -> String {
        points.filter { $0.x.isFinite && $0.y.isFinite }.map {
            Self.text(xPixel($0.x)) + "," + Self.text(yPixel($0.y))
        }.joined(separator: " ")
    }

    /// A line through points.
    mutating func addLine(_ points: [(x: Double, y: Double)], _ style: Style) {
        marks.append("<polyline class=\"line \(style.rawValue)\" points=\"\(path(points))\"/>")
    }

    /// A point.
    mutating func addPoint(_ point: (x: Double, y: Double), legend text: String) {
        guard point.x.isFinite, point.y.isFinite else { return }
        let (px, py) = (Self.text(xPixel(point.x)), Self.text(yPixel(point.y)))
        marks.append("<circle class=\"dot\" cx=\"\(px)\" cy=\"\(py)\" r=\"4\"/>")
        legend.append((.main, text))
    }

    /// The outline of bars of equal width between the axis' ends, filled.
    mutating func addBars(_ heights: [Double], _ style: Style, legend text: String) {
        let width = (x.high - x.low) / Double(max(1, heights.count))
        var points = [(x: x.low, y: y.low)]
        for (index, height) in heights.enumerated() {
            let start = x.low + width * Double(index)
            points += [(start, height), (start + width, height)]
        }
        points.append((x.high, y.low))
        marks.append("<polygon class=\"area \(style.rawValue)\" points=\"\(path(points))\"/>")
        legend.append((style, text))
    }

    /// A broken line from the bottom to the top, with a text at its upper end.
    mutating func addVertical(at value: Double, _ text: String) {
        guard value.isFinite else { return }
        let px = xPixel(value)
        marks.append(
            "<line class=\"line chance\" x1=\"\(Self.text(px))\" x2=\"\(Self.text(px))\" y1=\"\(Self.text(Self.top))\" "
                + "y2=\"\(Self.text(Self.bottom))\"/>")
        let anchor = px > 217 ? "end" : "start"
        marks.append(Self.label(text, x: px + (anchor == "end" ? -5 : 5), y: Self.top + 12, anchor))
    }

    private static func label(_ text: String, x: Double, y: Double, _ anchor: String) -> String {
        "<text x=\"\(Self.text(x))\" y=\"\(Self.text(y))\" text-anchor=\"\(anchor)\">\(ReportText.escaped(text))</text>"
    }

    /// The element.
    var svg: String {
        var parts = [
            "<svg viewBox=\"0 0 \(Int(Self.width)) \(Int(Self.height))\" role=\"img\" "
                + "aria-label=\"\(ReportText.escaped(name))\">"
        ]
        for tick in x.ticks {
            let px = xPixel(tick.value)
            parts.append(Self.gridLine(px, Self.top, px, Self.bottom))
            parts.append(Self.label(tick.label, x: px, y: Self.bottom + 17, "middle"))
        }
        for tick in y.ticks {
            let py = yPixel(tick.value)
            parts.append(Self.gridLine(Self.left, py, Self.right, py))
            parts.append(Self.label(tick.label, x: Self.left - 6, y: py + 4, "end"))
        }
        parts += marks
        parts.append(Self.label(x.title, x: (Self.left + Self.right) / 2, y: Self.height - 10, "middle"))
        parts.append(Self.label(y.title, x: 4, y: 14, "start"))
        var end = Self.right
        for (style, text) in legend.reversed() {
            parts.append(Self.label(text, x: end, y: 14, "end"))
            // Letters are some 6.5 wide at the page's size of 12.
            end -= 6.5 * Double(text.count) + 15
            parts.append(
                "<rect class=\"key \(style.rawValue)\" x=\"\(Self.text(end))\" y=\"5\" width=\"10\" height=\"10\"/>")
            end -= 12
        }
        return (parts + ["</svg>"]).joined(separator: "\n")
    }

    private static func gridLine(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double) -> String {
        "<line class=\"grid\" x1=\"\(text(x1))\" y1=\"\(text(y1))\" x2=\"\(text(x2))\" y2=\"\(text(y2))\"/>"
    }
}

extension ReportChart.Axis {
    /// An axis of parts, labelled in percent.
    static func percent(_ title: String, from low: Double = 0) -> Self {
        let step = low >= 0.8 ? 0.05 : low >= 0.5 ? 0.1 : 0.2
        let ticks = Int(((1 - low) / step).rounded())
        return Self(
            title: title + " (%)", low: low, high: 1,
            ticks: (0...ticks).map { index in
                let value = 1 - step * Double(ticks - index)
                return (value, "\(Int((100 * value).rounded()))")
            })
    }

    /// An axis with some ticks at round values.
    static func linear(_ title: String, from low: Double, to high: Double) -> Self {
        guard low.isFinite, high.isFinite, low < high else { return .linear(title, from: 0, to: 1) }
        let magnitude = pow(10, floor(log10((high - low) / 4)))
        let step = [1.0, 2, 5, 10].map { $0 * magnitude }.first { (high - low) / $0 <= 6 } ?? 10 * magnitude
        let first = (low / step - 1e-9).rounded(.up), last = (high / step + 1e-9).rounded(.down)
        let ticks = stride(from: first, through: last, by: 1).map { index in
            (value: index * step, label: String(format: "%.4g", index == 0 ? 0 : index * step))
        }
        return Self(title: title, low: low, high: high, ticks: ticks)
    }

    /// The powers of ten from one up to 1.
    static func logarithmic(_ title: String, fromPower lowest: Int) -> Self {
        Self(
            title: title, low: pow(10, Double(lowest)), high: 1, isLogarithmic: true,
            ticks: (lowest...0).map { (pow(10, Double($0)), $0 == 0 ? "1" : "1e\($0)") })
    }
}
