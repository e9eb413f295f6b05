// swift-tools-version: 6.1
import PackageDescription

// The C kernels and their tests alone, so that `make sanitize` builds neither the rest nor the dependencies with the
// sanitizers' options.
let package = Package(
    name: "Sanitize",
    platforms: [.macOS(.v15)],
    targets: [
        .target(name: "CKernels", path: "CKernels"),
        .testTarget(
            name: "CKernelsTests", dependencies: ["CKernels"], path: "CKernelsTests",
            swiftSettings: [.define("SANITIZE")]),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .c11
)
