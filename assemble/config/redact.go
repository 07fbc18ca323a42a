package config

import (
	"net/url"
	"strings"
)

// hidden stands where a secret was.
const hidden = "xxxxx"

// redactURL hides the password of a URL, a user name that stands alone (it is
// a token then) and the values of a query. What is no URL comes back as it is.
func redactURL(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	u, err := url.Parse(s)
	if err != nil {
		return redactText(scheme, rest)
	}
	if u.User != nil {
		if _, ok := u.User.Password(); ok {
			u.User = url.UserPassword(u.User.Username(), hidden)
		} else if u.User.Username() != "git" {
			u.User = url.User(hidden)
		}
	}
	if u.RawQuery != "" {
		u.RawQuery = hidden
	}
	if u.User == nil && u.RawQuery == "" {
		return s
	}
	return u.String()
}

// redactText hides what may be credentials in something that url.Parse refuses.
func redactText(scheme, rest string) string {
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = hidden + rest[i:]
	}
	return scheme + "://" + rest
}

// redactLine is redactURL for "@tag URL".
func redactLine(s string) string {
	if tag, u, ok := strings.Cut(s, " "); ok {
		return tag + " " + redactURL(u)
	}
	return redactURL(s)
}

// redactVCS is redactURL for "URL@REVISION".
func redactVCS(s string) string {
	source, revision, ok := splitVCS(s)
	if _, rest, _ := strings.Cut(source, "://"); !ok || !strings.Contains(rest, "/") {
		return redactURL(s) // what stands before "@" may be a token
	}
	return redactURL(source) + "@" + revision
}

func redactAll(list []string, redact func(string) string) []string {
	if list == nil {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = redact(s)
	}
	return out
}
