import CImaging

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

enum ResampleLevel {
    /// The level that pictures are resized at: the processor's best, unless `RECOGNITE_ISA` is `portable`.
    static let current: ci_level =
        getenv("RECOGNITE_ISA").map { String(cString: $0) } == "portable" ? CI_LEVEL_PORTABLE : ci_level_supported()
}
