/// The pickle opcodes that are known, under the names of Python's `pickletools`.
enum PickleOpcode: UInt8 {
    // Structure.
    case proto = 0x80
    case frame = 0x95
    case stop = 0x2e
    case mark = 0x28
    case pop = 0x30
    case popMark = 0x31
    case dup = 0x32

    // The memo.
    case put = 0x70
    case binput = 0x71
    case longBinput = 0x72
    case memoize = 0x94
    case get = 0x67
    case binget = 0x68
    case longBinget = 0x6a

    // Plain values.
    case none = 0x4e
    case newTrue = 0x88
    case newFalse = 0x89
    case int = 0x49
    case binint = 0x4a
    case binint1 = 0x4b
    case binint2 = 0x4d
    case long = 0x4c
    case long1 = 0x8a
    case long4 = 0x8b
    case float = 0x46
    case binfloat = 0x47
    case string = 0x53
    case binstring = 0x54
    case shortBinstring = 0x55
    case unicode = 0x56
    case binunicode = 0x58
    case shortBinunicode = 0x8c
    case binunicode8 = 0x8d
    case binbytes = 0x42
    case shortBinbytes = 0x43
    case binbytes8 = 0x8e
    case bytearray8 = 0x96

    // Containers.
    case emptyTuple = 0x29
    case tuple = 0x74
    case tuple1 = 0x85
    case tuple2 = 0x86
    case tuple3 = 0x87
    case emptyList = 0x5d
    case list = 0x6c
    case append = 0x61
    case appends = 0x65
    case emptyDict = 0x7d
    case dict = 0x64
    case setitem = 0x73
    case setitems = 0x75
    case emptySet = 0x8f
    case additems = 0x90
    case frozenset = 0x91

    // Objects.
    case global = 0x63
    case stackGlobal = 0x93
    case reduce = 0x52
    case newobj = 0x81
    case build = 0x62
    case binpersid = 0x51
}
