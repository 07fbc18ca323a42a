package cosign

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
)

// Services are what a signature is witnessed by. There are no defaults: public
// services see what is signed, so they are used only when a file names them.
type Services struct {
	Fulcio     string // base URL; empty for none
	Logs       []Log
	Timestamps []string // whole URLs of RFC 3161 authorities
}

// Log is a transparency log.
type Log struct {
	URL     string
	Version uint32 // 1: Rekor; 2: Rekor on tiles
}

// maxConfig bounds a signing configuration or a trusted root, in bytes.
const maxConfig = 4 << 20

// LoadServices reads a signing configuration
// (application/vnd.dev.sigstore.signingconfig.v0.2+json, which `cosign
// signing-config create` writes) and picks what is valid now, by its rules.
func LoadServices(path string, now time.Time) (*Services, error) {
	raw, err := readConfig(path)
	if err != nil {
		return nil, fmt.Errorf("signing config %s: %w: %w", path, ErrConfig, err)
	}
	c, err := root.NewSigningConfigFromJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("signing config %s: %w: %w", path, ErrConfig, err)
	}
	s := &Services{}
	if err := s.pick(c, now); err != nil {
		return nil, fmt.Errorf("signing config %s: %w: %w", path, ErrConfig, err)
	}
	return s, nil
}

func (s *Services) pick(c *root.SigningConfig, now time.Time) error {
	if list := c.FulcioCertificateAuthorityURLs(); len(list) > 0 {
		fulcio, err := root.SelectService(list, sign.FulcioAPIVersions, now)
		if err != nil {
			return fmt.Errorf("caUrls: %w", err)
		}
		s.Fulcio = fulcio.URL
	}
	if list := c.RekorLogURLs(); len(list) > 0 {
		logs, err := root.SelectServices(list, c.RekorLogURLsConfig(), sign.RekorAPIVersions, now)
		if err != nil {
			return fmt.Errorf("rekorTlogUrls: %w", err)
		}
		for _, l := range logs {
			s.Logs = append(s.Logs, Log{URL: l.URL, Version: l.MajorAPIVersion})
		}
	}
	if list := c.TimestampAuthorityURLs(); len(list) > 0 {
		authorities, err := root.SelectServices(list, c.TimestampAuthorityURLsConfig(), sign.TimestampAuthorityAPIVersions, now)
		if err != nil {
			return fmt.Errorf("tsaUrls: %w", err)
		}
		for _, a := range authorities {
			s.Timestamps = append(s.Timestamps, a.URL)
		}
	}
	if s.timeless() {
		return errors.New("a Rekor v2 log gives no time: expected a timestamp authority in tsaUrls")
	}
	return nil
}

// timeless reports whether there is a log of version 2 and nothing that says
// when.
func (s *Services) timeless() bool {
	for _, l := range s.Logs {
		if l.Version >= 2 && len(s.Timestamps) == 0 {
			return true
		}
	}
	return false
}

// legacyLog reports whether legacy signatures get a log entry: their format
// has room for that of Rekor 1 only.
func (s *Services) legacyLog() bool {
	for _, l := range s.Logs {
		if l.Version < 2 {
			return true
		}
	}
	return false
}

// checkKeyless refuses what nobody could verify after ten minutes.
func (s *Services) checkKeyless() error {
	if s.Fulcio == "" {
		return fmt.Errorf("signing config: %w: no certificate authority: keyless signing needs caUrls\nhint: --signing-config names the services; the public ones are used only when it does", ErrConfig)
	}
	if !s.legacyLog() && len(s.Timestamps) == 0 {
		return fmt.Errorf("signing config: %w: nothing says when was signed: the certificate is valid for minutes, so a log or a timestamp authority is needed", ErrConfig)
	}
	return nil
}

// LoadTrust reads a trusted root
// (application/vnd.dev.sigstore.trustedroot+json, which `cosign trusted-root
// create` writes).
func LoadTrust(path string) (root.TrustedMaterial, error) {
	raw, err := readConfig(path)
	if err != nil {
		return nil, fmt.Errorf("trusted root %s: %w: %w", path, ErrConfig, err)
	}
	t, err := root.NewTrustedRootFromJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("trusted root %s: %w: %w", path, ErrConfig, err)
	}
	return t, nil
}

func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxConfig {
		return nil, fmt.Errorf("more than %d bytes", maxConfig)
	}
	return raw, nil
}
