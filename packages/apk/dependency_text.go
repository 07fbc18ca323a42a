package apk

// String returns the operator as apk-tools writes it; the empty string for
// OpAny. The two fuzzy forms that accept lesser or greater versions too, which
// apk-tools reads but cannot write, are "<~" and ">~".
func (o Op) String() string {
	switch o {
	case OpAny:
		return ""
	case OpEqual:
		return "="
	case OpLess:
		return "<"
	case OpGreater:
		return ">"
	case OpLessEqual:
		return "<="
	case OpGreaterEqual:
		return ">="
	case OpFuzzy, OpFuzzyEqual:
		return "~"
	case OpLess | OpFuzzy, OpLess | OpFuzzyEqual:
		return "<~"
	case OpGreater | OpFuzzy, OpGreater | OpFuzzyEqual:
		return ">~"
	case OpChecksum:
		return "><"
	}
	return "?"
}

// String returns the atom as it stands in an index or in the world file:
// "!name@tag>=1.2", without spaces.
func (d Dependency) String() string { return string(d.append(nil)) }

func (d Dependency) append(b []byte) []byte {
	if d.Conflict {
		b = append(b, '!')
	}
	b = append(b, d.Name...)
	if d.Pin != "" {
		b = append(b, '@')
		b = append(b, d.Pin...)
	}
	if d.Op != OpAny {
		b = append(b, d.Op.String()...)
		b = append(b, d.Version...)
	}
	return b
}

// appendDependencies appends the atoms with a space between them.
func appendDependencies(b []byte, list []Dependency) []byte {
	for i, d := range list {
		if i > 0 {
			b = append(b, ' ')
		}
		b = d.append(b)
	}
	return b
}
