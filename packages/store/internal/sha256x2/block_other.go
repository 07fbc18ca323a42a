//go:build !amd64

package sha256x2

const available = false

func blocks(_, _ *state, _, _ *byte, _ int) { panic("sha256x2: not available") }
