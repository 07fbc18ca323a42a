package config

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/google/shlex"

	"github.com/cairn-dev/cairn/assemble/apptree"
	"github.com/cairn-dev/cairn/packages/apk"
)

const impossible = "impossible value"

// visible reports whether s has neither white space nor control characters.
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// only reports whether s consists of ASCII letters, digits and extra.
func only(s, extra string) bool {
	for _, r := range s {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !letter && !strings.ContainsRune(extra, r) {
			return false
		}
	}
	return true
}

// repositoryProblem says what is wrong with "URL" or "@tag URL"; empty for
// nothing. shown is the line with its credentials hidden.
func repositoryProblem(line string) (detail, hint string) {
	shown := strconv.Quote(shorten(redactLine(line)))
	u := line
	if strings.HasPrefix(line, "@") {
		tag, rest, ok := strings.Cut(line[1:], " ")
		switch {
		case !ok || rest == "":
			return "found " + shown + ", expected \"@tag URL\"", ""
		case tag == "" || !only(tag, "._+-"):
			return "found tag " + strconv.Quote("@"+tag) + ", expected letters, digits, \".\", \"_\", \"+\" and \"-\" after \"@\"", ""
		}
		u = rest
	}
	switch {
	case u == "":
		return "found nothing, expected a URL or a directory", ""
	case !visible(u):
		return "found white space in " + shown + ", expected \"URL\" or \"@tag URL\"", ""
	}
	return urlProblem(u, shown, "https://, http://, file://, builtin:// or a directory", false)
}

// urlProblem checks a URL or local path.
func urlProblem(u, shown, expected string, query bool) (detail, hint string) {
	scheme, rest, ok := strings.Cut(u, "://")
	if !ok {
		return "", ""
	}
	switch strings.ToLower(scheme) {
	case "http", "https":
	case "builtin":
		if rest == "" || strings.Contains(strings.TrimRight(rest, "/"), "/") {
			return "found " + shown + ", expected " + expected, ""
		}
		return "", ""
	case "file":
		if !strings.HasPrefix(strings.TrimPrefix(rest, "localhost"), "/") {
			return "found " + shown + ", expected an absolute path after file://", ""
		}
		return "", ""
	default:
		return "found " + shown + ", expected " + expected, ""
	}
	parsed, err := url.Parse(u)
	switch {
	case err != nil:
		return "found " + shown + ", which is no URL", ""
	case parsed.Hostname() == "":
		return "found no host in " + shown, ""
	case !query && (parsed.RawQuery != "" || parsed.Fragment != "" || parsed.ForceQuery):
		return "found \"?\" or \"#\" in " + shown + ", expected a plain URL", "the index is looked up below the URL"
	}
	return "", ""
}

func checkRepository(c *checker, at place, v string) {
	if detail, hint := repositoryProblem(v); detail != "" {
		c.problem(at, "invalid repository", detail, hint)
	}
}

// keyForms lists what an entry of a keyring may be.
const keyForms = "https://, http://, file://, builtin://NAME/FILE, a file or PEM text"

// keyProblem checks an entry of a keyring.
func keyProblem(v string) (detail, hint string) {
	switch {
	case v == "":
		return "found nothing, expected " + keyForms, ""
	case strings.Contains(v, "-----BEGIN"):
		return inlineKeyProblem(v), ""
	case strings.ContainsAny(v, "\r\n"):
		return "found several lines that are no PEM text, expected " + keyForms, ""
	}
	shown := strconv.Quote(shorten(redactURL(v)))
	if name, ok := strings.CutPrefix(v, "builtin://"); ok {
		if repo, file, ok := strings.Cut(name, "/"); !ok || repo == "" || file == "" || hasDots(name) {
			return "found " + shown + ", expected builtin://NAME/FILE", ""
		}
		return "", ""
	}
	return urlProblem(v, shown, keyForms, true)
}

// inlineKeyProblem checks the PEM text of an RSA key, PKIX or PKCS #1.
func inlineKeyProblem(v string) string {
	if strings.Contains(v, "PRIVATE KEY-----") {
		return "found a private key, expected the public one"
	}
	if der, detail := onePEM(v, "RSA PUBLIC KEY"); detail == "" {
		if _, err := x509.ParsePKCS1PublicKey(der); err != nil {
			return "found a damaged key, expected an RSA public key"
		}
		return ""
	}
	return publicKeyProblem(v)
}

// checkKeyringName checks the repository that a keyring is for.
func checkKeyringName(c *checker, at place, name string) {
	detail, hint := repositoryProblem(name)
	if strings.HasPrefix(name, "@") {
		detail, hint = "found "+strconv.Quote(shorten(redactLine(name)))+", expected the URL without tag", ""
	}
	if detail != "" {
		c.problem(at, "invalid repository", detail, hint)
	}
}

func checkKeyLocation(c *checker, at place, v string) {
	if detail, hint := keyProblem(v); detail != "" {
		c.problem(at, "invalid key location", detail, hint)
	}
}

func checkPackage(c *checker, at place, v string) {
	if _, detail := parsePackage(v); detail != "" {
		c.problem(at, "invalid package", detail, "")
	}
}

// checkFileName is apko's rule for the names of certificates and keys.
func checkFileName(c *checker, at place, v string) {
	if v == "" {
		return // reported as missing
	}
	if v[0] == '.' || !only(v, "_.-") {
		c.problem(at, impossible, "found "+describe(at.n)+", expected letters, digits, \"_\", \"-\" and \".\", not starting with \".\"", "")
	}
}

// onePEM returns the only PEM block of a text.
func onePEM(text, want string) ([]byte, string) {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, "found no PEM block, expected one " + want
	case block.Type != want:
		return nil, "found a PEM block " + strconv.Quote(block.Type) + ", expected " + strconv.Quote(want)
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, "found several PEM blocks, expected one"
	}
	return block.Bytes, ""
}

func publicKeyProblem(text string) string {
	der, detail := onePEM(text, "PUBLIC KEY")
	if detail != "" {
		return detail
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return "found a damaged key, expected an RSA public key"
	}
	if _, ok := key.(*rsa.PublicKey); !ok {
		return fmt.Sprintf("found a %T, expected an RSA public key", key)
	}
	return ""
}

func checkPublicKey(c *checker, at place, v string) {
	if v == "" {
		return // reported as missing
	}
	if detail := publicKeyProblem(v); detail != "" {
		c.problem(at, "invalid key", detail, "")
	}
}

func checkCertificate(c *checker, at place, v string) {
	if v == "" {
		return // reported as missing
	}
	der, detail := onePEM(v, "CERTIFICATE")
	if detail == "" {
		if _, err := x509.ParseCertificate(der); err != nil {
			detail = "found a damaged certificate: " + strings.TrimPrefix(err.Error(), "x509: ")
		}
	}
	if detail != "" {
		c.problem(at, "invalid certificate", detail, "")
	}
}

func checkLocalPath(c *checker, at place, v string) {
	if strings.Contains(v, "://") {
		c.problem(at, impossible, "found a URL, expected a local path", "")
	}
}

// accountProblem says why a user or group cannot be called so.
func accountProblem(v string) string {
	switch {
	case v == "":
		return "found nothing, expected a name"
	case !visible(v) || strings.ContainsAny(v, ":,/\"'`$&;|<>*?()\\#!"):
		return "found " + strconv.Quote(shorten(v)) + ", expected a name without white space and special characters"
	case strings.ContainsAny(v[:1], "-+~@"):
		return "found " + strconv.Quote(shorten(v)) + ", expected a name that does not start with " + strconv.Quote(v[:1])
	case v == "." || v == "..":
		return "found " + strconv.Quote(v) + ", expected a name"
	}
	return ""
}

func checkAccountName(c *checker, at place, v string) {
	if v == "" && !strings.HasSuffix(at.path, "]") {
		return // reported as missing
	}
	if detail := accountProblem(v); detail != "" {
		c.problem(at, impossible, detail, "")
	}
}

// checkRunAs accepts NAME, NUMBER, and either with ":" and a group.
func checkRunAs(c *checker, at place, v string) {
	if v == "" {
		return
	}
	user, group, both := strings.Cut(v, ":")
	parts := []string{user}
	if both {
		parts = append(parts, group)
	}
	for _, part := range parts {
		if n, err := strconv.ParseInt(part, 10, 64); err == nil || onlyDigits(part) {
			if err != nil || n < 0 || n > 1<<32-1 {
				c.problem(at, "out of range", "found "+strconv.Quote(shorten(part))+", expected 0 to 4294967295", "")
			}
			continue
		}
		if detail := accountProblem(part); detail != "" {
			c.problem(at, impossible, detail, "")
		}
	}
}

func onlyDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// checkPasswdPath checks a home directory or shell.
func checkPasswdPath(c *checker, at place, v string) {
	if v == "" {
		return
	}
	if !strings.HasPrefix(v, "/") || strings.ContainsAny(v, ":\r\n") {
		c.problem(at, impossible, "found "+describe(at.n)+", expected an absolute path without \":\"", "")
	}
}

func checkCommand(c *checker, at place, v string) {
	if _, err := shlex.Split(v); err != nil {
		c.problem(at, "not a command line", "found "+describe(at.n)+", which has "+commandProblem(err), "")
	}
}

// commandProblem words shlex's two errors.
func commandProblem(err error) string {
	if strings.Contains(err.Error(), "escape") {
		return "a backslash at its end"
	}
	return "a quote that is not closed"
}

func checkServiceName(c *checker, at place, name string) {
	if name == "" || name[0] == '.' || strings.Contains(name, "/") || !visible(name) {
		c.problem(at, impossible, "found service name "+strconv.Quote(shorten(name))+", expected a directory name that does not start with \".\"", "")
	}
}

func checkService(c *checker, at place, v string) {
	if strings.TrimSpace(v) == "" {
		c.problem(at, "empty", "expected a command line", "")
	}
}

func checkAbsolute(c *checker, at place, v string) {
	if v == "" && !strings.HasSuffix(at.path, "]") {
		return
	}
	if !strings.HasPrefix(v, "/") {
		c.problem(at, impossible, "found "+describe(at.n)+", expected an absolute path", "")
	}
}

func checkVariable(c *checker, at place, name string) {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		c.problem(at, impossible, "found variable name "+strconv.Quote(shorten(name))+", expected one without \"=\" and not empty", "")
	}
}

func annotationProblem(key string) string {
	if key == "" || !visible(key) || strings.Contains(key, "=") {
		return "found annotation key " + strconv.Quote(shorten(key)) + ", expected one without white space and \"=\" and not empty"
	}
	return ""
}

func checkAnnotation(c *checker, at place, key string) {
	if detail := annotationProblem(key); detail != "" {
		c.problem(at, impossible, detail, "")
	}
}

// checkImagePath checks a path that paths works on.
func checkImagePath(c *checker, at place, v string) {
	if v == "" {
		return // reported as missing
	}
	c.imagePath(at, v)
}

func (c *checker) imagePath(at place, v string) bool {
	switch {
	case !strings.HasPrefix(v, "/"):
		c.problem(at, impossible, "found "+describe(at.n)+", expected an absolute path", "")
	case hasDots(v):
		c.problem(at, impossible, "found "+describe(at.n)+", expected a path without \"..\"", "")
	default:
		return true
	}
	return false
}

func hasDots(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

func checkFilePath(c *checker, at place, v string) {
	if v == "" || !c.imagePath(at, v) {
		return
	}
	if path.Clean(v) != v || v == "/" {
		c.problem(at, impossible, "found "+describe(at.n)+", expected the path of a file, without \"//\", \".\" and a slash at its end", "")
	}
}

func checkSHA256(c *checker, at place, v string) {
	if v == "" {
		return
	}
	if _, err := apk.ParseSHA256(v); err != nil {
		c.problem(at, impossible, "found "+describe(at.n)+", expected 64 hexadecimal digits", "")
	}
}

func vcsProblem(v string) string {
	if !visible(v) {
		return "found white space in " + strconv.Quote(shorten(redactVCS(v))) + ", expected URL@REVISION"
	}
	return ""
}

func checkVCS(c *checker, at place, v string) {
	if detail := vcsProblem(v); detail != "" {
		c.problem(at, impossible, detail, "")
		return
	}
	if _, _, ok := splitVCS(v); v != "" && !ok {
		c.warning(at, "no revision", "found "+strconv.Quote(shorten(redactVCS(v)))+", expected URL@REVISION; no annotation is made of it", "")
	}
}

func checkInclude(c *checker, at place, v string) {
	if strings.Contains(v, "://") {
		c.problem(at, "remote include", "found "+strconv.Quote(shorten(redactURL(v)))+", expected a local file",
			"fetch it beforehand; a configuration must not change under a build")
	}
}

func checkFormat(c *checker, at place, v string) {
	switch v {
	case "", "tar":
	case "erofs":
		c.problem(at, "unsupported", "found erofs, expected tar", "no common container engine unpacks erofs layers")
	default:
		c.problem(at, impossible, "found "+describe(at.n)+", expected tar", "")
	}
}

func checkVirtual(c *checker, at place, v string) {
	if v == "" || !visible(v) {
		c.problem(at, impossible, "found "+describe(at.n)+", expected the name of a virtual package", "")
	}
}

func checkExclude(c *checker, at place, v string) {
	if err := apptree.CheckPattern(v); err != nil {
		c.problem(at, impossible, err.Error(), "")
	}
}
