// Swift's own precondition drops its message in release builds, where servers run and where the message is needed. These
// have the same signatures, so that they take its place in every target of the package that imports this one.

/// Ends the process with a message if a caller broke a rule.
@inline(__always)
package func precondition(
    _ condition: @autoclosure () -> Bool, _ message: @autoclosure () -> String = String(), file: StaticString = #file,
    line: UInt = #line
) {
    if !condition() { fatalError(message(), file: file, line: line) }
}

/// Ends the process with a message: a caller broke a rule.
package func preconditionFailure(
    _ message: @autoclosure () -> String = String(), file: StaticString = #file, line: UInt = #line
) -> Never {
    fatalError(message(), file: file, line: line)
}
