// swift-tools-version: 6.1
import PackageDescription

let package = Package(
    name: "Recognite",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "Recognite", targets: ["Recognite"]),
        .executable(name: "recognite", targets: ["recognite-cli"]),
        .executable(name: "recognite-benchmark", targets: ["recognite-benchmark"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-crypto", "3.12.3"..<"5.0.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        .systemLibrary(
            name: "COpenBLAS", pkgConfig: "openblas",
            providers: [.apt(["libopenblas-dev"]), .brew(["openblas"])]),
        .systemLibrary(
            name: "CLAPACKE", pkgConfig: "lapacke",
            providers: [.apt(["liblapacke-dev"]), .brew(["lapack"])]),
        .systemLibrary(
            name: "CTurboJPEG", pkgConfig: "libjpeg",
            providers: [.apt(["libjpeg62-turbo-dev"]), .brew(["jpeg-turbo"])]),
        .systemLibrary(
            name: "CPNG", pkgConfig: "libpng",
            providers: [.apt(["libpng-dev"]), .brew(["libpng"])]),
        .systemLibrary(
            name: "CWebP", pkgConfig: "libwebp",
            providers: [.apt(["libwebp-dev"]), .brew(["webp"])]),
        .systemLibrary(
            name: "CZip", pkgConfig: "libzip",
            providers: [.apt(["libzip-dev"]), .brew(["libzip"])]),
        .target(name: "CKernels"),
        .target(name: "Tensors", dependencies: ["CKernels", "COpenBLAS"]),
        .target(name: "Plans", dependencies: ["Tensors", "CKernels"]),
        .target(name: "Layers", dependencies: ["Plans", "Tensors"]),
        .target(name: "ModelZoo", dependencies: ["Layers", "CZip"]),
        .target(name: "CImaging", dependencies: ["CTurboJPEG", "CPNG"]),
        .target(name: "Imaging", dependencies: ["Tensors", "CImaging", "CWebP"]),
        .target(
            name: "Weights",
            dependencies: ["Imaging", "Tensors", .product(name: "Crypto", package: "swift-crypto")]),
        .target(
            name: "Recognite",
            dependencies: [
                "CLAPACKE", "Imaging", "ModelZoo", "Layers", "Tensors", "Weights",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .executableTarget(
            name: "recognite-cli",
            dependencies: [
                "Recognite",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Yams", package: "Yams"),
            ]),
        .executableTarget(
            name: "recognite-benchmark",
            dependencies: [
                "Recognite",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Benchmarks"),
        .target(name: "TestSupport", dependencies: ["Recognite"], path: "Tests/Support"),
        .testTarget(
            name: "RecogniteTests", dependencies: ["Recognite", "TestSupport"], resources: [.copy("Golden")]),
        .testTarget(name: "CommandTests", dependencies: ["Recognite", "recognite-cli", "TestSupport"]),
        .testTarget(name: "CKernelsTests", dependencies: ["CKernels"]),
        .testTarget(name: "TensorsTests", dependencies: ["Tensors"]),
        .testTarget(name: "LayersTests", dependencies: ["Layers", "Plans", "Tensors"]),
        .testTarget(
            name: "ModelZooTests", dependencies: ["ModelZoo", "Layers", "Tensors"],
            resources: [.copy("Fixtures")]),
        .testTarget(name: "WeightsTests", dependencies: ["Recognite", "TestSupport"]),
        .testTarget(
            name: "ImagingTests", dependencies: ["Imaging", "CImaging", "Tensors"], resources: [.copy("Fixtures")]),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .c11
)
