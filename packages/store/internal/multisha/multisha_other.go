//go:build !amd64

package multisha

const pairs, sixteens = false, false

func blocks2(_, _ *state, _, _ *byte, _ int) { panic("multisha: not available") }

func blocks16(_ *states, _ *[Lanes]*byte, _ int) { panic("multisha: not available") }
