package cosign

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// TokenSource says where an identity token may come from. Tokens are secrets:
// none is ever part of a message, a file name or a command line.
type TokenSource struct {
	// File holds a token; empty for none.
	File string
	// LookupEnv reads the environment.
	LookupEnv func(string) (string, bool)
	// Transport makes the request to GitHub; nil for the default.
	Transport http.RoundTripper
}

// ambientFile is where a projected service account token is put for Sigstore's
// clients in Kubernetes.
const ambientFile = "/var/run/sigstore/cosign/oidc-token"

// maxToken bounds a token, in bytes.
const maxToken = 64 << 10

// FindToken returns the first identity token there is: in the file that is
// named, in CAIRN_ID_TOKEN or SIGSTORE_ID_TOKEN (which GitLab sets), from
// GitHub Actions, or in the file for Kubernetes.
func FindToken(ctx context.Context, s TokenSource) (string, error) {
	if s.File != "" {
		return tokenFile(s.File)
	}
	for _, name := range []string{"CAIRN_ID_TOKEN", "SIGSTORE_ID_TOKEN"} {
		if v, ok := s.env(name); ok && v != "" {
			return strings.TrimSpace(v), nil
		}
	}
	if u, ok := s.env("ACTIONS_ID_TOKEN_REQUEST_URL"); ok && u != "" {
		return s.github(ctx, u)
	}
	token, err := tokenFile(ambientFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: none found\nhint: set CAIRN_ID_TOKEN, or name a file with --identity-token-file; GitHub Actions needs the permission id-token: write", ErrToken)
	}
	return token, err
}

func (s *TokenSource) env(name string) (string, bool) {
	if s.LookupEnv == nil {
		return "", false
	}
	return s.LookupEnv(name)
}

func tokenFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrToken, err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrToken, err)
	}
	if len(raw) > maxToken {
		return "", fmt.Errorf("%w: file %s: more than %d bytes", ErrToken, path, maxToken)
	}
	return strings.TrimSpace(string(raw)), nil
}

// github asks GitHub Actions for a token for Sigstore.
func (s *TokenSource) github(ctx context.Context, address string) (string, error) {
	const where = "GitHub Actions"
	bearer, _ := s.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("%w: %s: ACTIONS_ID_TOKEN_REQUEST_URL is no URL", ErrToken, where)
	}
	q := u.Query()
	q.Set("audience", "sigstore")
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrToken, where, err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	client := &http.Client{Transport: s.Transport, Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return "", serviceError(ctx, fmt.Errorf("%s: %w", where, err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%w: %s: status %s", ErrService, where, resp.Status)
	}
	var answer struct{ Value string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxToken)).Decode(&answer); err != nil || answer.Value == "" {
		return "", fmt.Errorf("%w: %s: no token in the answer", ErrService, where)
	}
	return answer.Value, nil
}

// claims are the parts of a token that are looked at before it is sent.
type claims struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
	Expiry  int64  `json:"exp"`
}

// parseToken looks at a token, whatever it is signed with; Fulcio verifies it.
func parseToken(token string, now time.Time) (*claims, error) {
	if token == "" {
		return nil, fmt.Errorf("%w: empty", ErrToken)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%w: %d parts between dots, expected 3", ErrToken, len(parts))
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	if err := decodePart(parts[0], &header); err != nil || header.Algorithm == "" {
		return nil, fmt.Errorf("%w: the header is no JSON object with an algorithm", ErrToken)
	}
	var c claims
	if err := decodePart(parts[1], &c); err != nil || c.Issuer == "" {
		return nil, fmt.Errorf("%w: the claims are no JSON object with an issuer", ErrToken)
	}
	if c.Expiry != 0 && now.After(time.Unix(c.Expiry, 0)) {
		return nil, fmt.Errorf("%w: of %s: expired at %s", ErrToken, c.Issuer, time.Unix(c.Expiry, 0).UTC().Format(time.RFC3339))
	}
	return &c, nil
}

func decodePart(s string, v any) error {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, v)
}
