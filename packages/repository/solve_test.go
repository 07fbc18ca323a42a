package repository_test

import (
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/solve"
)

var _ solve.Index = (*repository.Index)(nil)
