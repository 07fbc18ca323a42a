package image

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ErrNoEngine is wrapped when no container engine can be reached.
var ErrNoEngine = errors.New("no container engine")

// EngineError is what an engine answered instead of loading the image.
type EngineError struct {
	Host    string
	Status  int // of HTTP; 200 when loading itself went wrong
	Message string
}

func (e *EngineError) Error() string {
	if e.Status == http.StatusOK {
		return fmt.Sprintf("engine %s: load: %s", e.Host, e.Message)
	}
	return fmt.Sprintf("engine %s: status %d: %s", e.Host, e.Status, e.Message)
}

// Engine says how to reach a container engine that speaks Docker's API
// (Docker, Podman's service).
type Engine struct {
	Host      string // unix:///path, tcp://host:port; empty for the default socket
	TLSVerify bool   // use TLS and check the server's certificate
	CertPath  string // directory with ca.pem, cert.pem, key.pem
}

const defaultEngineHost = "unix:///var/run/docker.sock"

// EngineFromEnvironment reads DOCKER_HOST, DOCKER_TLS_VERIFY and
// DOCKER_CERT_PATH as Docker's own client does. Without DOCKER_HOST, the
// socket of a rootless engine is used when it alone exists.
func EngineFromEnvironment(getenv func(string) string) Engine {
	e := Engine{Host: getenv("DOCKER_HOST"), TLSVerify: getenv("DOCKER_TLS_VERIFY") != "", CertPath: getenv("DOCKER_CERT_PATH")}
	if e.Host != "" {
		return e
	}
	e.Host = defaultEngineHost
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		rootless := filepath.Join(dir, "docker.sock")
		if exists(rootless) && !exists(strings.TrimPrefix(defaultEngineHost, "unix://")) {
			e.Host = "unix://" + rootless
		}
	}
	return e
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// connection is an HTTP client for one engine.
type connection struct {
	host string
	base string
	http *http.Client
}

const dialTimeout = 10 * time.Second

func (e Engine) connect() (*connection, error) {
	host := e.Host
	if host == "" {
		host = defaultEngineHost
	}
	u, err := url.Parse(host)
	if err != nil {
		return nil, fmt.Errorf("engine address %q: %w", host, err)
	}
	transport := &http.Transport{DisableCompression: true}
	c := &connection{host: u.Redacted(), http: &http.Client{Transport: transport}}
	dialer := &net.Dialer{Timeout: dialTimeout}
	switch u.Scheme {
	case "unix":
		path := u.Host + u.Path
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		}
		c.base = "http://engine"
	case "tcp", "http", "https":
		transport.DialContext = dialer.DialContext
		c.base = "http://" + u.Host
		if u.Scheme == "https" || e.TLSVerify || e.CertPath != "" {
			c.base = "https://" + u.Host
			if transport.TLSClientConfig, err = e.tls(); err != nil {
				return nil, err
			}
		}
	case "ssh":
		return nil, fmt.Errorf("engine address %q: ssh is not supported\nhint: forward the socket, ssh -L /tmp/docker.sock:/var/run/docker.sock HOST, and set DOCKER_HOST=unix:///tmp/docker.sock", c.host)
	default:
		return nil, fmt.Errorf("engine address %q: expected unix:///PATH or tcp://HOST:PORT", c.host)
	}
	return c, nil
}

// tls reads the client's certificate and the authority from CertPath. A
// server is always checked; without DOCKER_TLS_VERIFY Docker's client would
// not.
func (e Engine) tls() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.CertPath == "" {
		return cfg, nil
	}
	ca, err := os.ReadFile(filepath.Join(e.CertPath, "ca.pem"))
	if err != nil {
		return nil, fmt.Errorf("engine certificates: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("engine certificates: %s: no certificate in it", filepath.Join(e.CertPath, "ca.pem"))
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(e.CertPath, "cert.pem"), filepath.Join(e.CertPath, "key.pem"))
	if err != nil {
		return nil, fmt.Errorf("engine certificates: %w", err)
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}

// do sends a request and turns answers other than 200 into errors.
func (c *connection) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-tar")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	return nil, &EngineError{Host: c.host, Status: res.StatusCode, Message: errorMessage(res.Body)}
}

// unreachable tells an engine that is not there from a request that broke.
func (c *connection) unreachable(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%w at %s: %w\nhint: set DOCKER_HOST, or write an archive, FILE.tar, and load it where an engine runs", ErrNoEngine, c.host, op.Err)
	}
	return fmt.Errorf("engine %s: %w", c.host, err)
}

func errorMessage(r io.Reader) string {
	b, _ := io.ReadAll(io.LimitReader(r, 4096))
	var m struct{ Message string }
	if json.Unmarshal(b, &m) == nil && m.Message != "" {
		return m.Message
	}
	return strings.TrimSpace(string(b))
}

// platform asks the engine what it runs on.
func (c *connection) platform(ctx context.Context) (v1.Platform, error) {
	res, err := c.do(ctx, http.MethodGet, "/version", nil)
	if err != nil {
		return v1.Platform{}, err
	}
	defer res.Body.Close()
	var v struct{ Os, Arch string }
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&v); err != nil {
		return v1.Platform{}, fmt.Errorf("engine %s: version: %w", c.host, err)
	}
	return v1.Platform{OS: v.Os, Architecture: v.Arch}, nil
}

// Ping says, before any work is done, whether the engine can be reached. The
// error wraps [ErrNoEngine] when there is none.
func (e Engine) Ping(ctx context.Context) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	defer c.http.CloseIdleConnections()
	_, err = c.platform(ctx)
	return err
}

// load sends the image that fits the engine. The archive is made while it is
// sent; when making it fails, the engine gets no end of archive and loads
// nothing.
func (e Engine) load(ctx context.Context, root Root, tags []Ref, trusted bool) (messages []string, err error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	defer c.http.CloseIdleConnections()
	p, err := c.platform(ctx)
	if err != nil {
		return nil, err
	}
	img, err := pick(root, p)
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", c.host, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pr, pw := io.Pipe()
	made := make(chan error, 1)
	go func() {
		_, err := WriteArchive(ctx, pw, DockerArchive, img, WriteOptions{Tags: tags, Trusted: trusted})
		pw.CloseWithError(err)
		made <- err
	}()
	defer func() {
		pr.Close()
		if merr := <-made; merr != nil && !errors.Is(merr, io.ErrClosedPipe) {
			err = merr // the cause, where the request only says that its body broke
		}
	}()
	res, err := c.do(ctx, http.MethodPost, "/images/load?quiet=1", pr)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return c.progress(res.Body)
}

// progress reads the engine's stream of messages to its end.
func (c *connection) progress(r io.Reader) (messages []string, err error) {
	dec := json.NewDecoder(io.LimitReader(r, 16<<20))
	for {
		var m struct {
			Stream      string
			Error       string
			ErrorDetail struct{ Message string }
		}
		switch err := dec.Decode(&m); {
		case errors.Is(err, io.EOF):
			return messages, nil
		case err != nil:
			return messages, fmt.Errorf("engine %s: answer: %w", c.host, err)
		}
		if m.ErrorDetail.Message == "" {
			m.ErrorDetail.Message = m.Error
		}
		if m.ErrorDetail.Message != "" {
			return messages, &EngineError{Host: c.host, Status: http.StatusOK, Message: m.ErrorDetail.Message}
		}
		if s := strings.TrimSpace(m.Stream); s != "" {
			messages = append(messages, s)
		}
	}
}

// pick chooses the image of root that runs on p: the only one, or the one for
// p, the highest variant where there are several.
func pick(root Root, p v1.Platform) (Root, error) {
	c, err := gather(root)
	if err != nil {
		return nil, err
	}
	if len(c.members) == 1 {
		return c.members[0].image, nil
	}
	var best *member
	var have bytes.Buffer
	variant := ""
	for i := range c.members {
		m := &c.members[i]
		mp, err := m.platformOf()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&have, " %s", platformName(mp))
		if mp.OS == p.OS && mp.Architecture == p.Architecture && (best == nil || mp.Variant > variant) {
			best, variant = m, mp.Variant
		}
	}
	if best == nil {
		return nil, fmt.Errorf("no image for %s: found%s", platformName(&p), have.String())
	}
	return best.image, nil
}
