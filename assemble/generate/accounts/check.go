package accounts

import (
	"fmt"
	"path"
	"strings"
)

// checkArguments refuses what would break the files or contradict itself.
func checkArguments(users []User, groups []Group) error {
	var names, ids claims
	for _, u := range users {
		if err := checkUser(u); err != nil {
			return err
		}
		if err := names.claim("user", u.Name, u.Name, "name"); err != nil {
			return err
		}
		if err := ids.claim("user", u.Name, u.UID, "id"); err != nil {
			return err
		}
	}
	names, ids = nil, nil
	for _, g := range groups {
		if err := checkGroup(g); err != nil {
			return err
		}
		if err := names.claim("group", g.Name, g.Name, "name"); err != nil {
			return err
		}
		if err := ids.claim("group", g.Name, g.GID, "id"); err != nil {
			return err
		}
	}
	return nil
}

// claims remembers who took a name or an id first.
type claims map[any]string

func (c *claims) claim(what, name string, key any, kind string) error {
	if other, taken := (*c)[key]; taken {
		return fmt.Errorf("%s %q: %s %v is given twice, first by %q: %w", what, name, kind, key, other, ErrConflict)
	}
	if *c == nil {
		*c = claims{}
	}
	(*c)[key] = name
	return nil
}

func checkUser(u User) error {
	if err := checkName("user", u.Name); err != nil {
		return err
	}
	for _, f := range []struct{ what, value string }{{"comment", u.Comment}, {"home", u.Home}, {"shell", u.Shell}} {
		if strings.ContainsFunc(f.value, breaksLine) {
			return fmt.Errorf("user %q: %s %q: expected no colon and no control character", u.Name, f.what, f.value)
		}
	}
	if u.Home != "" && (!path.IsAbs(u.Home) || path.Clean(u.Home) != u.Home) {
		return fmt.Errorf("user %q: home %q: expected a clean absolute path", u.Name, u.Home)
	}
	return nil
}

func checkGroup(g Group) error {
	if err := checkName("group", g.Name); err != nil {
		return err
	}
	for _, m := range g.Members {
		if m == "" || strings.ContainsRune(m, ',') || strings.ContainsFunc(m, breaksLine) {
			return fmt.Errorf("group %q: member %q: expected a user name", g.Name, m)
		}
	}
	return nil
}

func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s without a name", what)
	case strings.ContainsAny(name[:1], "#+-"):
		return fmt.Errorf("%s %q: expected a name that does not begin with %q", what, name, name[0])
	case strings.ContainsAny(name, "/, ") || strings.ContainsFunc(name, breaksLine):
		return fmt.Errorf("%s %q: expected a name without colon, slash, comma, space and control characters", what, name)
	}
	return nil
}

func breaksLine(r rune) bool { return r == ':' || r < ' ' || r == 0x7f }
