package definition

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed starters
var starters embed.FS

// StarterKinds are the kinds of [Starter], in alphabetical order.
var StarterKinds = []string{"autoconf", "cmake", "go", "make", "meson", "meta", "python", "rust"}

// Starter returns a commented definition of a package to begin with.
func Starter(kind, name string) ([]byte, error) {
	if !packageName.MatchString(name) {
		return nil, fmt.Errorf("%w: name: found %q, expected letters, digits, \"+\", \"_\", \".\" and \"-\", beginning with a letter or digit", ErrDefinition, shorten(name))
	}
	data, err := starters.ReadFile("starters/" + kind + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("kind: found %q, expected %s", kind, strings.Join(StarterKinds, ", "))
	}
	module := strings.NewReplacer("-", "_", ".", "_", "+", "_").Replace(strings.TrimPrefix(name, "py3-"))
	return []byte(strings.NewReplacer("@NAME@", name, "@MODULE@", module).Replace(string(data))), nil
}
