package apk

// Op is the comparison of a [Dependency]. The zero value accepts any version.
type Op uint8

// The operators of apk-world(5). Fuzzy ("~") compares as a prefix of version
// components: 1.2 ~ 1.2.3. Checksum ("><") compares the control checksum.
const (
	OpAny          Op = 0
	OpEqual        Op = 1                   // =
	OpLess         Op = 2                   // <
	OpGreater      Op = 4                   // >
	OpFuzzy        Op = 8                   // set beside OpEqual (~, ~=), OpLess (<~) or OpGreater (>~)
	OpLessEqual       = OpLess | OpEqual    // <=
	OpGreaterEqual    = OpGreater | OpEqual // >=
	OpFuzzyEqual      = OpFuzzy | OpEqual   // ~ and ~=
	OpChecksum        = OpLess | OpGreater  // ><
)

// Dependency is one atom of depends, provides, install_if, replaces or of the
// request (the "world"): a name with an optional constraint.
type Dependency struct {
	Name     string
	Op       Op
	Conflict bool   // written with a leading "!"
	Version  string // empty exactly when Op is OpAny
	Pin      string // repository tag after "@"; only in a request
}
