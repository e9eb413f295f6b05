import Foundation
import Recognite

/// The steps of a plan as a table.
struct PlanTable {
    let summary: PlanSummary

    var text: String {
        let total = summary.rows.reduce(0) { $0 + ($1.seconds ?? 0) }
        let isTimed = total > 0
        let rows = summary.rows.enumerated().map { index, row in
            var cells = [
                "\(index)", row.kernel, row.detail,
                "[" + row.outputShape.map(String.init).joined(separator: ", ") + "]",
                row.place, String(format: "%.1f", Double(row.multiplyAdds) / 1e6),
            ]
            if isTimed {
                let seconds = row.seconds ?? 0
                let speed = seconds > 0 ? 2e-9 * Double(row.multiplyAdds * summary.batch) / seconds : 0
                cells += [
                    String(format: "%.1f", seconds * 1e6), row.multiplyAdds == 0 ? "" : String(format: "%.0f", speed),
                    String(format: "%.1f", 100 * seconds / total),
                ]
            }
            return cells
        }
        let header =
            ["step", "kernel", "detail", "output", "place", "M mult-adds"] + (isTimed ? ["us", "GFLOP/s", "%"] : [])
        let table = TextTable(header: header, rows: rows, leftColumns: [1, 2, 3, 4]).text
        let images = summary.batch > 1 ? " for \(summary.batch) images" : ""
        return isTimed ? table + String(format: "\n\n%.2f ms in all", total * 1e3) + images : table
    }
}
