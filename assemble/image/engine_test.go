package image

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeEngine answers like Docker's API; what it is sent it keeps.
type fakeEngine struct {
	arch   string
	answer string
	status int
	stop   int64 // read only so much of the archive; 0: all
	got    bytes.Buffer
}

func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/version":
		fmt.Fprintf(w, `{"Os":"linux","Arch":%q}`, f.arch)
	case r.Method == http.MethodPost && r.URL.Path == "/images/load" && r.Header.Get("Content-Type") == "application/x-tar":
		if f.stop > 0 {
			_, _ = io.CopyN(&f.got, r.Body, f.stop)
		} else if _, err := io.Copy(&f.got, r.Body); err != nil {
			http.Error(w, `{"message":"archive breaks off"}`, http.StatusBadRequest)
			return
		}
		if f.status != 0 {
			w.WriteHeader(f.status)
		}
		_, _ = io.WriteString(w, f.answer)
	default:
		http.NotFound(w, r)
	}
}

// serve runs the engine on a unix socket.
func (f *fakeEngine) serve(t *testing.T) Engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine") // the names of sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: f}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); os.RemoveAll(dir) })
	return Engine{Host: "unix://" + filepath.Join(dir, "s")}
}

var engineOutputs = Output{Kind: DockerEngine}

func TestEngineLoad(t *testing.T) {
	f := &fakeEngine{arch: "arm", answer: `{"stream":"Loaded image: hello:1\n"}` + "\n" + `{"status":"x"}`}
	x := testIndex(t, "amd64", "arm/v6", "arm/v7")
	ref := mustTag(t, "hello:1")
	w := mustWrite(t, Output{Kind: DockerEngine, Ref: &ref}, x, WriteOptions{Engine: f.serve(t), Tags: []Ref{ref}})
	if !cmp.Equal(w.Messages, []string{"Loaded image: hello:1"}) || !cmp.Equal(w.Tags, []string{"hello:1"}) {
		t.Errorf("%+v", w)
	}
	_, contents := members(t, f.got.Bytes())
	var docker []dockerEntry
	if err := json.Unmarshal(contents["manifest.json"], &docker); err != nil {
		t.Fatal(err)
	}
	v7 := x.images[2]
	if len(docker) != 1 || docker[0].Config != blobName(v7.configHash) || !cmp.Equal(docker[0].RepoTags, []string{"hello:1"}) {
		t.Errorf("sent %+v, want the image for arm/v7", docker)
	}
}

func TestEngineLoadsAForeignImage(t *testing.T) {
	f := &fakeEngine{arch: "amd64"}
	mustWrite(t, engineOutputs, testIndex(t, "s390x"), WriteOptions{Engine: f.serve(t)})
	if f.got.Len() == 0 {
		t.Error("nothing was sent")
	}
}

func TestEngineErrors(t *testing.T) {
	x := testIndex(t, "amd64", "arm64")
	for _, test := range []struct {
		name   string
		engine fakeEngine
		want   string // with HOST for the address
	}{
		{"no image for it", fakeEngine{arch: "riscv64"}, "output docker://: engine HOST: no image for linux/riscv64: found linux/amd64 linux/arm64"},
		{"load fails", fakeEngine{arch: "amd64", answer: `{"stream":"x"}{"errorDetail":{"message":"no space left"},"error":"no space left"}`}, "output docker://: engine HOST: load: no space left"},
		{"load fails, old form", fakeEngine{arch: "amd64", answer: `{"error":"invalid diffID"}`}, "output docker://: engine HOST: load: invalid diffID"},
		{"refused", fakeEngine{arch: "amd64", status: 403, answer: `{"message":"not for you"}`}, "output docker://: engine HOST: status 403: not for you"},
		{"refused early", fakeEngine{arch: "amd64", status: 500, stop: 100, answer: "plain text\n"}, "output docker://: engine HOST: status 500: plain text"},
		{"no JSON", fakeEngine{arch: "amd64", answer: "<html>"}, "output docker://: engine HOST: answer: invalid character '<' looking for beginning of value"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := test.engine.serve(t)
			_, err := Write(t.Context(), engineOutputs, x, WriteOptions{Engine: e})
			if want := strings.ReplaceAll(test.want, "HOST", e.Host); err == nil || err.Error() != want {
				t.Fatalf("\ngot  %v\nwant %s", err, want)
			}
			var typed *EngineError
			if isTyped := errors.As(err, &typed); isTyped != (strings.Contains(test.want, "load:") || strings.Contains(test.want, "status")) {
				t.Errorf("typed: %v", isTyped)
			}
		})
	}
}

// An image that turns out to be damaged while it is sent gives its own error,
// and the engine gets an archive without an end.
func TestEngineGetsNoDamagedImage(t *testing.T) {
	f := &fakeEngine{arch: "amd64"}
	img := testImage(t, "amd64")
	flip(t, img.layers[0].(*fileLayer).Path)
	_, err := Write(t.Context(), engineOutputs, img, WriteOptions{Engine: f.serve(t)})
	if !errors.Is(err, ErrBlobChanged) {
		t.Errorf("%v, want ErrBlobChanged", err)
	}
	if bytes.HasSuffix(f.got.Bytes(), make([]byte, 2*tarBlock)) {
		t.Error("the engine got an end of archive")
	}
}

func TestNoEngine(t *testing.T) {
	for _, host := range []string{"unix:///no/such/socket", "tcp://127.0.0.1:1"} {
		_, err := Write(t.Context(), engineOutputs, testImage(t, "amd64"), WriteOptions{Engine: Engine{Host: host}})
		if !errors.Is(err, ErrNoEngine) || !strings.Contains(err.Error(), "no container engine at "+host+": ") || !strings.Contains(err.Error(), "\nhint: set DOCKER_HOST") {
			t.Errorf("%s: %v", host, err)
		}
		if err := (Engine{Host: host}).Ping(t.Context()); !errors.Is(err, ErrNoEngine) {
			t.Errorf("ping %s: %v", host, err)
		}
	}
	if err := (&fakeEngine{arch: "amd64"}).serve(t).Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
	for host, want := range map[string]string{
		"ssh://me:secret@host": "output docker://: engine address \"ssh://me:xxxxx@host\": ssh is not supported\nhint: forward the socket, ssh -L /tmp/docker.sock:/var/run/docker.sock HOST, and set DOCKER_HOST=unix:///tmp/docker.sock",
		"npipe:////./pipe/x":   `output docker://: engine address "npipe:////./pipe/x": expected unix:///PATH or tcp://HOST:PORT`,
		"docker.example.org":   `output docker://: engine address "docker.example.org": expected unix:///PATH or tcp://HOST:PORT`,
		"tcp://[::1":           `output docker://: engine address "tcp://[::1": parse "tcp://[::1": missing ']' in host`,
	} {
		_, err := Write(t.Context(), engineOutputs, testImage(t, "amd64"), WriteOptions{Engine: Engine{Host: host}})
		if err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", host, err, want)
		}
	}
}

func TestEngineIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Write(ctx, engineOutputs, testImage(t, "amd64"), WriteOptions{Engine: (&fakeEngine{arch: "amd64"}).serve(t)})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestEngineFromEnvironment(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rootless := "unix://" + dir + "/docker.sock"
	if exists("/var/run/docker.sock") {
		rootless = defaultEngineHost
	}
	for _, test := range []struct {
		env  map[string]string
		want Engine
	}{
		{nil, Engine{Host: defaultEngineHost}},
		{map[string]string{"XDG_RUNTIME_DIR": dir}, Engine{Host: rootless}},
		{map[string]string{"XDG_RUNTIME_DIR": "/nowhere"}, Engine{Host: defaultEngineHost}},
		{map[string]string{"DOCKER_HOST": "tcp://h:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c", "XDG_RUNTIME_DIR": dir}, Engine{Host: "tcp://h:1", TLSVerify: true, CertPath: "/c"}},
	} {
		if got := EngineFromEnvironment(func(k string) string { return test.env[k] }); got != test.want {
			t.Errorf("%v: %+v, want %+v", test.env, got, test.want)
		}
	}
}

// writePair makes a certificate that is its own authority.
func writePair(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pk, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "EC PRIVATE KEY", Bytes: pk}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEngineTLS(t *testing.T) {
	f := &fakeEngine{arch: "amd64", answer: `{"stream":"Loaded"}`}
	var client string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			client = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		f.ServeHTTP(w, r)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	srv.TLS.ClientAuth = 1 // request a certificate
	host := "tcp://" + srv.Listener.Addr().String()
	img := testImage(t, "amd64")

	if _, err := Write(t.Context(), engineOutputs, img, WriteOptions{Engine: Engine{Host: host, TLSVerify: true}}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server of unknown authority: %v", err)
	}
	dir := t.TempDir()
	if _, err := Write(t.Context(), engineOutputs, img, WriteOptions{Engine: Engine{Host: host, CertPath: dir}}); err == nil || !strings.Contains(err.Error(), "engine certificates: open "+dir+"/ca.pem") {
		t.Errorf("no certificates: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), engineOutputs, img, WriteOptions{Engine: Engine{Host: host, CertPath: dir}}); err == nil || !strings.Contains(err.Error(), "ca.pem: no certificate in it") {
		t.Errorf("junk for an authority: %v", err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), engineOutputs, img, WriteOptions{Engine: Engine{Host: host, CertPath: dir}}); err == nil || !strings.Contains(err.Error(), "cert.pem") {
		t.Errorf("no certificate of the client's: %v", err)
	}
	writePair(t, dir)
	w := mustWrite(t, engineOutputs, img, WriteOptions{Engine: Engine{Host: host, CertPath: dir, TLSVerify: true}})
	if !cmp.Equal(w.Messages, []string{"Loaded"}) || client != "client" {
		t.Errorf("%+v, client %q", w, client)
	}
}
