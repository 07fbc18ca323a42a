package packages

import (
	"context"

	"github.com/cairn-dev/cairn/packages/solve"
)

func solveAllForNow(ctx context.Context, rs []solve.Request) (out []*solve.Solution, err error) {
	for _, r := range rs {
		s, err := solve.Solve(ctx, r)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}
