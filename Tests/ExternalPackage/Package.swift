// swift-tools-version: 6.1
// A package that uses Recognite as its users do; `make test` builds and runs it.
import PackageDescription

let package = Package(
    name: "ExternalPackage",
    platforms: [.macOS(.v15)],
    dependencies: [.package(name: "Recognite", path: "../..")],
    targets: [
        .executableTarget(
            name: "ExternalPackage", dependencies: [.product(name: "Recognite", package: "Recognite")])
    ]
)
