package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// serveWorld is a directory with a certificate for 127.0.0.1 and a policy that
// lets one registry in.
func serveWorld(t *testing.T) (dir string, client *http.Client) {
	t.Helper()
	dir = t.TempDir()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"tls.crt":     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		"tls.key":     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		"policy.yaml": []byte("version: 1\nimages:\n  - {match: [\"registry.example/**\"], allow: true}\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return dir, &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com"}}}
}

// The whole server: it starts, answers over TLS, and ends when it is told to.
func TestServeAdmission(t *testing.T) {
	dir, client := serveWorld(t)
	ctx, stop := context.WithCancelCause(context.Background())
	r, w := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"serve", "admission", "--listen=127.0.0.1:0", "--policy=" + filepath.Join(dir, "policy.yaml"),
			"--cert=" + filepath.Join(dir, "tls.crt"), "--cert-key=" + filepath.Join(dir, "tls.key")}, streams{strings.NewReader(""), w, &stderr})
		_ = w.Close()
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	url := "https://" + strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	go func() { _, _ = io.Copy(io.Discard, r) }()
	const digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for image, want := range map[string]string{
		"registry.example/app" + digest: `"allowed":false`, // the registry is not there, so its digest cannot be looked up
		"/etc":                          "expected one in a registry",
	} {
		body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","kind":{"kind":"Pod"},"operation":"CREATE","object":{"spec":{"containers":[{"image":"` + image + `"}]}}}}`
		resp, err := client.Post(url+"/validate?timeout=2s", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: found %v %s", image, err, text)
		}
	}
	resp, err := client.Get(url + "/healthz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("found %v %v", resp, err)
	}
	_ = resp.Body.Close()
	stop(errors.New("enough"))
	select {
	case <-code:
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not end")
	}
}

func TestServeAdmissionUsage(t *testing.T) {
	dir, _ := serveWorld(t)
	policy, cert, key := "--policy="+filepath.Join(dir, "policy.yaml"), "--cert="+filepath.Join(dir, "tls.crt"), "--cert-key="+filepath.Join(dir, "tls.key")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "--policy: missing"},
		{[]string{policy}, exitUsage, "--cert and --cert-key: missing: the API server speaks TLS only"},
		{[]string{policy, cert, key, "--mode=audit"}, exitUsage, `--mode: found "audit", expected enforce, warn or dry-run`},
		{[]string{policy, cert, key, "--cache-entries=0"}, exitUsage, "expected more than nothing"},
		{[]string{"--policy=" + filepath.Join(dir, "tls.crt"), cert, key}, exitConfig, "policy: wrong type"},
		{[]string{policy, cert, "--cert-key=" + filepath.Join(dir, "tls.crt")}, exitFailure, "tls.crt"},
		{[]string{policy, cert, key, "--listen=256.0.0.1:1"}, exitUnreachable, "256.0.0.1"},
	} {
		var out bytes.Buffer
		code := run(context.Background(), append([]string{"serve", "admission"}, c.args...), streams{strings.NewReader(""), io.Discard, &out})
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%v: found %d %s", c.args, code, &out)
		}
	}
}

// The manifests are YAML, start the server with flags that it has, and have it
// asked at paths that it serves.
func TestKubernetesManifests(t *testing.T) {
	kinds := map[string]int{}
	for _, name := range []string{"cairn.yaml", "webhooks.yaml"} {
		text, err := os.ReadFile("../../configs/kubernetes/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
			var d struct {
				Kind string
				Spec struct {
					Template struct {
						Spec struct{ Containers []struct{ Args []string } }
					}
				}
				Webhooks []struct {
					FailurePolicy string                                  `yaml:"failurePolicy"`
					ClientConfig  struct{ Service struct{ Path string } } `yaml:"clientConfig"`
				}
			}
			if err := dec.Decode(&d); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			kinds[d.Kind]++
			for _, c := range d.Spec.Template.Spec.Containers {
				if problem := unknownIn(newRoot(streams{}), c.Args); problem != "" {
					t.Errorf("%s: %s", name, problem)
				}
			}
			for _, h := range d.Webhooks {
				want := map[string]string{"ValidatingWebhookConfiguration": "/validate Fail", "MutatingWebhookConfiguration": "/mutate Ignore"}[d.Kind]
				if got := h.ClientConfig.Service.Path + " " + h.FailurePolicy; got != want {
					t.Errorf("%s: found %s, expected %s", d.Kind, got, want)
				}
			}
		}
	}
	for _, kind := range []string{"Deployment", "Service", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"} {
		if kinds[kind] != 1 {
			t.Errorf("found %d of kind %s", kinds[kind], kind)
		}
	}
}
