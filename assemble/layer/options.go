package layer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Strategy says what the unit of a layer is.
type Strategy string

// The strategies.
const (
	// PerPackage gives each package a layer of its own as long as the budget
	// lasts. It is the default.
	PerPackage Strategy = "package"
	// PerOrigin keeps the packages of one origin together.
	PerOrigin Strategy = "origin"
	// Single puts everything into one layer.
	Single Strategy = "single"
)

const (
	// DefaultBudget is the number of layers used at most when Options.Budget
	// is 0.
	DefaultBudget = 100
	// MaxBudget is the largest budget that is accepted: overlayfs and
	// containerd stop at 127.
	MaxBudget = 127
	// MaxLayers is the number of layers that a plan never exceeds, whatever
	// the budget: Docker's classic image store stops at 125, because it adds
	// two layers of its own to a container.
	MaxLayers = 125
)

// Options say how to divide a tree into layers.
type Options struct {
	// Strategy defaults to PerPackage.
	Strategy Strategy
	// Budget is the largest number of layers, the top layer and those of
	// applications included. 0 means DefaultBudget. A budget of 1 is the strategy
	// Single, and so is one that leaves no layer for packages.
	Budget int
	// Base are the layers of the image that the tree's base is, bottom to top.
	// They count towards the budget; where they exceed it, MaxLayers is the
	// limit.
	Base []Layer
	// Previous is the assignment of an earlier build, from the lock. Packages
	// stay where it has them unless moving one pays.
	Previous *Assignment
	// Weights are observed update rates by origin, in any unit of time. An
	// origin that is not listed is taken to have the mean rate. Without
	// weights every package is taken to change equally often.
	Weights map[string]float64
	// Compat writes one layer the way apko does, with apko's order, headers
	// and compression; the other options do not apply. See WriteApko.
	Compat bool

	apps int // layers that applications need
}

// Assignment says which packages share a layer, for the lock.
type Assignment struct {
	// Strategy and Budget are those that the assignment was made with. When
	// they are set and differ from the current ones, nothing is kept.
	Strategy Strategy `json:"strategy,omitempty"`
	Budget   int      `json:"budget,omitempty"`
	// Segments are the package names of each layer, bottom to top, the top
	// layer left out; the order within a layer is that of its content.
	Segments [][]string `json:"segments"`
}

// normalised fills in the defaults and refuses what makes no sense.
func (o Options) normalised() (Options, error) {
	switch o.Strategy {
	case "":
		o.Strategy = PerPackage
	case PerPackage, PerOrigin, Single:
	default:
		return o, fmt.Errorf("layering strategy %q: expected one of %s", o.Strategy,
			strings.Join([]string{string(PerPackage), string(PerOrigin), string(Single)}, ", "))
	}
	if o.Budget == 0 {
		o.Budget = DefaultBudget
	}
	if o.Budget < 1 || o.Budget > MaxBudget {
		return o, fmt.Errorf("layering budget %d: expected 1 to %d", o.Budget, MaxBudget)
	}
	for _, origin := range slices.Sorted(maps.Keys(o.Weights)) {
		if w := o.Weights[origin]; !(w >= 0) || w > 1e12 {
			return o, fmt.Errorf("update rate of %q: %v: expected 0 or more", origin, w)
		}
	}
	if len(o.Base) >= MaxLayers {
		return o, fmt.Errorf("base image with %d layers: expected at most %d, so that there is room for one more", len(o.Base), MaxLayers-1)
	}
	if o.Budget == 1 {
		o.Strategy = Single
	}
	return o, nil
}

// slots is the number of layers there may be between the base and the top layer,
// those of applications left out.
func (o Options) slots() int {
	room := min(o.Budget, MaxLayers) - len(o.Base)
	if room < 1 {
		room = MaxLayers - len(o.Base)
	}
	return max(room-1-o.apps, 0)
}

// applies reports whether a was made under the same rules as o.
func (a *Assignment) applies(o Options) bool {
	return a != nil && len(a.Segments) > 0 &&
		(a.Strategy == "" || a.Strategy == o.Strategy) &&
		(a.Budget == 0 || a.Budget == o.Budget)
}
