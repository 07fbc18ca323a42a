package repository

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Credential is a secret for one host. Exactly one of Token and User is set.
type Credential struct {
	// Host is "name" or "name:port", compared without regard to case. Without
	// a port it holds for every port. Empty is netrc's "default": any host.
	Host     string
	User     string
	Password string
	Token    string // sent as "Authorization: Bearer"
}

// header returns the value of the Authorization header.
func (c Credential) header() string {
	if c.Token != "" {
		return "Bearer " + c.Token
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Password))
}

// matches reports whether the credential is meant for u.
func (c Credential) matches(u *url.URL) bool {
	if c.Host == "" {
		return true
	}
	return strings.EqualFold(c.Host, u.Host) || strings.EqualFold(c.Host, u.Hostname()) ||
		strings.EqualFold(c.Host, net.JoinHostPort(u.Hostname(), port(u)))
}

// port returns the port of u, or its scheme's.
func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// Auth says which credentials go to which host. The zero value sends none, and
// nil is valid. It must not be changed once a [Client] uses it.
type Auth struct {
	// Credentials are tried in order; the first whose host fits is sent.
	Credentials []Credential
}

// lookup returns the credential for u.
func (a *Auth) lookup(u *url.URL) (Credential, bool) {
	if a == nil {
		return Credential{}, false
	}
	for _, c := range a.Credentials {
		if c.matches(u) {
			return c, true
		}
	}
	return Credential{}, false
}

// apply sets or removes the Authorization header of a request to req.URL, be it
// the configured URL or one that a server redirected to. User information of the
// configured URL is for its own scheme, host and port only, and a credential for
// any host is not for those that a server names.
func (a *Auth) apply(req *http.Request, configured *url.URL) {
	req.Header.Del("Authorization")
	same := sameServer(configured, req.URL)
	if u := configured.User; u != nil && same {
		pw, _ := u.Password()
		req.Header.Set("Authorization", Credential{User: u.Username(), Password: pw}.header())
	} else if c, ok := a.lookup(req.URL); ok && (same || c.Host != "") {
		req.Header.Set("Authorization", c.header())
	}
}

func sameServer(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// AuthFromEnvironment collects credentials: first those of HTTP_AUTH
// ([ParseHTTPAuth]), then those of the netrc file that NETRC names, or of
// ~/.netrc when there is one. getenv is usually os.Getenv.
func AuthFromEnvironment(getenv func(string) string) (*Auth, error) {
	a := &Auth{}
	cs, err := ParseHTTPAuth(getenv("HTTP_AUTH"))
	if err != nil {
		return nil, err
	}
	a.Credentials = append(a.Credentials, cs...)
	name, explicit := getenv("NETRC"), true
	if name == "" {
		home := getenv("HOME")
		if home == "" {
			return a, nil
		}
		name, explicit = filepath.Join(home, ".netrc"), false
	}
	b, err := readFileLimit(name, 1<<20)
	if errors.Is(err, fs.ErrNotExist) && !explicit {
		return a, nil
	}
	if err != nil {
		return nil, fmt.Errorf("netrc %s: %w", name, pathProblem(err))
	}
	cs, err = ParseNetrc(string(b))
	if err != nil {
		return nil, fmt.Errorf("netrc %s: %w", name, err)
	}
	a.Credentials = append(a.Credentials, cs...)
	return a, nil
}

// pathProblem strips operation and path from an error of package os, for
// messages that name the path already.
func pathProblem(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// readFileLimit reads a regular file of at most limit bytes.
func readFileLimit(name string, limit int64) (b []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size := int64(-1)
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		size = st.Size()
	}
	return readSized(f, size, limit)
}

// ParseHTTPAuth reads the value of HTTP_AUTH: entries "basic:HOST:USER:PASSWORD"
// and "bearer:HOST:TOKEN", separated by newlines, or by commas before the next
// "basic:" or "bearer:". A password or token may contain colons and commas. HOST
// may carry a port, as in "basic:host:8443:user:password", and "*" means any
// host the configuration names. Where apk-tools accepts a realm, a host is
// expected: a realm is the server's word, and any server can say it. Errors
// never quote the value.
func ParseHTTPAuth(s string) ([]Credential, error) {
	var out []Credential
	for _, line := range strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }) {
		for _, entry := range splitAuth(line) {
			c, err := parseAuthEntry(entry)
			if err != nil {
				return nil, fmt.Errorf("HTTP_AUTH: entry %d: %w", len(out)+1, err)
			}
			out = append(out, c)
		}
	}
	return out, nil
}

// splitAuth cuts a line at the commas that begin a new entry.
func splitAuth(line string) []string {
	var out []string
	start := 0
	for i := 0; i < len(line); i++ {
		rest := strings.TrimLeft(line[i+1:], " \t")
		if line[i] == ',' && (rest == "" || hasAuthScheme(rest)) {
			out = append(out, line[start:i])
			start = i + 1
		}
	}
	out = append(out, line[start:])
	for i := 0; i < len(out); {
		if out[i] = strings.TrimSpace(out[i]); out[i] == "" {
			out = append(out[:i], out[i+1:]...)
			continue
		}
		i++
	}
	return out
}

func hasAuthScheme(s string) bool {
	return strings.HasPrefix(s, "basic:") || strings.HasPrefix(s, "bearer:")
}

func parseAuthEntry(s string) (Credential, error) {
	kind, rest, _ := strings.Cut(s, ":")
	if kind != "basic" && kind != "bearer" {
		return Credential{}, errors.New("expected \"basic:HOST:USER:PASSWORD\" or \"bearer:HOST:TOKEN\"")
	}
	host, rest, ok := cutHost(rest, kind == "basic")
	if !ok || host == "" || strings.ContainsAny(host, " \t/@") {
		return Credential{}, fmt.Errorf("no host after %q", kind+":")
	}
	if strings.HasPrefix(rest, "//") {
		return Credential{}, errors.New("a URL where a host name is expected")
	}
	if err := checkSecret(rest); err != nil {
		return Credential{}, fmt.Errorf("host %s: %w", host, err)
	}
	if kind == "bearer" {
		if rest == "" || strings.ContainsAny(rest, " \t") {
			return Credential{}, fmt.Errorf("host %s: empty token, or one with white space", host)
		}
		return Credential{Host: anyHost(host), Token: rest}, nil
	}
	user, password, ok := strings.Cut(rest, ":")
	if !ok || user == "" {
		return Credential{}, fmt.Errorf("host %s: expected \"USER:PASSWORD\" after it", host)
	}
	return Credential{Host: anyHost(host), User: user, Password: password}, nil
}

func anyHost(host string) string {
	if host == "*" {
		return ""
	}
	return host
}

// cutHost splits "host:rest", "host:port:rest" or "[v6]:port:rest". Where rest is
// to be "user:password", digits are a port only when that much follows them.
func cutHost(s string, pair bool) (host, rest string, ok bool) {
	isPort := func(p, after string) bool { return isPort(p) && (!pair || strings.Contains(after, ":")) }
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", "", false
		}
		host, s = s[1:end], strings.TrimPrefix(s[end+1:], ":")
		if p, r, found := strings.Cut(s, ":"); found && isPort(p, r) {
			return net.JoinHostPort(host, p), r, true
		}
		return host, s, true
	}
	host, rest, ok = strings.Cut(s, ":")
	if p, r, found := strings.Cut(rest, ":"); found && isPort(p, r) {
		return host + ":" + p, r, ok
	}
	return host, rest, ok
}

func isPort(s string) bool {
	if s == "" || len(s) > 5 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// checkSecret refuses characters that no HTTP header may carry.
func checkSecret(s string) error {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return errors.New("control character in the secret")
		}
	}
	return nil
}
