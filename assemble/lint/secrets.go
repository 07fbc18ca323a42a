package lint

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/packages/apk"
)

// Limits on what is searched for secrets: a file and all files, in bytes.
const (
	maxSecretFile = 64 << 10
	maxSecrets    = 32 << 20
)

// secretKinds are secrets that are known by their form. None of them is a matter
// of taste: each begins with a mark that its issuer gives it.
var secretKinds = []struct {
	name    string
	pattern *regexp.Regexp
}{
	{"a private key", regexp.MustCompile(`-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----`)},
	{"an AWS access key", regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z2-7]{16}\b`)},
	{"an AWS secret key", regexp.MustCompile(`(?i)aws_secret_access_key["']?\s*[=:]\s*["']?[A-Za-z0-9/+]{40}\b`)},
	{"a GitHub token", regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})\b`)},
	{"a GitLab token", regexp.MustCompile(`\bgl(?:pat|dt|rt|cbt|ptt)-[A-Za-z0-9_-]{20,}`)},
	{"a Slack token", regexp.MustCompile(`\bxox[abeprs]-[A-Za-z0-9-]{10,}`)},
	{"a Google API key", regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}`)},
	{"a Stripe key", regexp.MustCompile(`\b[rs]k_live_[A-Za-z0-9]{16,}`)},
	{"an npm token", regexp.MustCompile(`\bnpm_[A-Za-z0-9]{36}\b|_authToken\s*=\s*[A-Za-z0-9_-]{16,}`)},
	{"a PyPI token", regexp.MustCompile(`\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}`)},
	{"a registry's password", regexp.MustCompile(`"auth"\s*:\s*"[A-Za-z0-9+/]{8,}={0,2}"`)},
	{"a cloud service account's key", regexp.MustCompile(`"private_key_id"\s*:\s*"[0-9a-f]{40}"`)},
}

// secretName tells variables whose value is a secret by their names; secretPath
// those that name where one is.
var (
	secretName = regexp.MustCompile(`(?i)(?:^|_)(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIALS)$`)
	secretPath = regexp.MustCompile(`^(?:/|\$|file:|arn:)`)
)

func secrets(ctx context.Context, r *run) error {
	for _, e := range r.in.Env {
		name, value, _ := strings.Cut(e, "=")
		what := secretIn(value)
		if what == "" && len(value) > 3 && secretName.MatchString(name) && !secretPath.MatchString(value) {
			what = "a value"
		}
		if what != "" { // the value itself is never shown
			r.add(Finding{Key: "environment." + name, Message: fmt.Sprintf("environment variable %s holds %s: pass it when the container starts", name, what)})
		}
	}
	nodes, left := r.suspects()
	if left > 0 {
		r.notLookedAt("%d files for secrets, after the first %d bytes", left, int64(maxSecrets))
	}
	contents, err := r.read(ctx, nodes)
	if err != nil {
		return err
	}
	for i, n := range nodes {
		if what := secretIn(string(contents[i])); what != "" {
			r.add(at(n, "holds %s", what))
		}
	}
	return nil
}

// suspects are the small files that no package has, and how many are left out.
// What is in packages anybody can read anyway.
func (r *run) suspects() (out []*files.Node, left int) {
	var total int64
	for _, n := range r.in.Tree.All() {
		if n.Type != apk.TypeFile || n.Package != "" || n.HardLink != "" || n.Size == 0 || n.Size > maxSecretFile || n.ELF != nil {
			continue
		}
		if total += n.Size; total > maxSecrets {
			left++
			continue
		}
		out = append(out, n)
	}
	return out, left
}

func secretIn(text string) string {
	for _, k := range secretKinds {
		if k.pattern.MatchString(text) {
			return k.name
		}
	}
	return ""
}
