import Layers
import ModelZoo
import Testing

/// Pickles that Python would not write, in PyTorch's older format.
@Suite struct PickleTests {
    /// The pickles that stand before the object's: magic number, protocol version, facts about the system.
    private let beginning: [UInt8] =
        [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e]
        + [0x80, 2, 0x4d, 0xe9, 0x03, 0x2e] + [0x80, 2, 0x7d, 0x2e]

    private func message(_ pickle: [UInt8]) throws -> String {
        try Fixtures.withFile(beginning + pickle + Array("].".utf8)) { path in
            do {
                let checkpoint = try Checkpoint(contentsOf: path)
                return "keys \(checkpoint.stateDict.keys)"
            } catch {
                return "\(error)"
            }
        }
    }

    @Test func deepNesting() throws {
        let tuples = Array(")".utf8) + [UInt8](repeating: 0x85, count: 200_000) + Array(".".utf8)
        #expect(try message(tuples).contains("(the object) (tuple of 1)"))
        let lists = [UInt8](repeating: 0x5d, count: 200_000) + [UInt8](repeating: 0x61, count: 199_999)
        #expect(try message(lists + Array(".".utf8)).contains("(the object) (list of 1)"))
        let marks = [UInt8](repeating: 0x28, count: 200_000)
        #expect(try message(marks).contains("ends early"))
    }

    @Test func cycles() throws {
        // d = {}; d["model"] = d; d["x"] = d
        let cycle = Array("}q\u{0}U\u{5}modelh\u{0}sU\u{1}xh\u{0}s.".utf8)
        #expect(try message(cycle).contains("model (dict of 2), x (dict of 2)"))
    }

    @Test func repeatedItems() throws {
        // A list of many pairs, of which many dicts are made.
        let pairs = (0..<2000).flatMap { _ in Array("K\u{1}K\u{2}\u{86}".unicodeScalars.map { UInt8($0.value) }) }
        var pickle = Array("](".utf8) + pairs + Array("e\u{85}q\u{0}0".unicodeScalars.map { UInt8($0.value) })
        pickle += Array("ccollections\nOrderedDict\nq\u{1}0".utf8)
        for _ in 0..<100_000 { pickle += Array("h\u{1}h\u{0}R0".utf8) }
        #expect(try message(pickle + Array("N.".utf8)).contains("over and over"))
    }

    @Test(arguments: [
        ("0.", "the stack is empty"), (".", "the stack is empty"), ("t.", "no mark"), ("(0.", "the stack is empty"),
        ("h\u{5}.", "nothing was kept"), ("K\u{1}K\u{2}s.", "the stack is empty"), ("NK\u{1}a.", "not a list"),
        ("}(K\u{1}u.", "a key without a value"), ("NNR.", "not a function"), ("NQ.", "a storage"),
        ("\u{7f}", "unknown opcode"), ("cos\nsystem\n.", "os.system"), ("cbuiltins\ngetattr\n.", "builtins.getattr"),
        ("ctorch.hub\nload\n.", "torch.hub.load"), ("cos\nPathLike\n.", "refused"),
        ("cmy.config\nConfig\n.", "a pickled my.config.Config object"), ("Iabc\n.", "a number"), ("Sabc\n.", "quotes"),
        ("ctorch\nSize\n)R.", "torch.Size"), ("ctorch\nfloat32\n)R.", "a call of torch.float32"),
        ("ccollections\nOrderedDict\nN\u{1}.", "unknown opcode"), ("X\u{7f}\u{7f}\u{7f}\u{7f}", "ends early"),
        ("cmodule\nwith\u{7}bell\n.", "module.with\u{FFFD}bell"),
    ])
    func malformed(pickle: String, fragment: String) throws {
        let message = try message(Array(pickle.utf8))
        #expect(message.contains(fragment), "\(message)")
    }

    @Test func pythonTwoItems() throws {
        // OrderedDict([['a', 1]]) with byte strings, as Python 2 wrote it.
        let pickle = Array("ccollections\nOrderedDict\n(lp0\n(lp1\nS'a'\naI1\naa".utf8) + [0x85] + Array("R.".utf8)
        #expect(try message(pickle).contains("it holds a (int)"))
    }
}
