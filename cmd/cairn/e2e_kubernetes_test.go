//go:build e2e

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/admission"
)

// cluster is an etcd and an API server; there are no nodes, and none are needed
// to see what is let in.
type cluster struct {
	t      *testing.T
	dir    string
	url    string
	client *http.Client
}

func unusedPort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, dir: t.TempDir()}
	etcd, api := cosignBin(t, "etcd"), cosignBin(t, "kube-apiserver")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c.write("sa.key", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	c.write("tokens.csv", "secret,admin,admin,system:masters\n")
	clients, peers, port := unusedPort(t), unusedPort(t), unusedPort(t)
	etcdURL := fmt.Sprintf("http://127.0.0.1:%d", clients)
	c.start(etcd, "--data-dir="+filepath.Join(c.dir, "etcd"), "--listen-client-urls="+etcdURL, "--advertise-client-urls="+etcdURL,
		fmt.Sprintf("--listen-peer-urls=http://127.0.0.1:%d", peers))
	c.start(api, "--etcd-servers="+etcdURL, fmt.Sprintf("--secure-port=%d", port), "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		"--cert-dir="+filepath.Join(c.dir, "certs"), "--service-account-key-file="+filepath.Join(c.dir, "sa.key"),
		"--service-account-signing-key-file="+filepath.Join(c.dir, "sa.key"), "--service-account-issuer=https://kubernetes.default.svc",
		"--authorization-mode=AlwaysAllow", "--token-auth-file="+filepath.Join(c.dir, "tokens.csv"),
		"--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount")
	c.url = fmt.Sprintf("https://127.0.0.1:%d", port)
	// The certificate is made by the server for itself.
	c.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for range 240 {
		if code, _ := c.call("GET", "/api/v1/namespaces/default", nil); code == http.StatusOK {
			return c
		}
		time.Sleep(500 * time.Millisecond)
	}
	text, _ := os.ReadFile(filepath.Join(c.dir, "kube-apiserver.log"))
	t.Fatalf("the API server does not start:\n%s", text[max(0, len(text)-4000):])
	return nil
}

func (c *cluster) write(name, text string) {
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) start(program string, args ...string) {
	log, err := os.Create(filepath.Join(c.dir, filepath.Base(program)+".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
}

// call makes a request and returns the code and the body.
func (c *cluster) call(method, path string, body any) (int, string) {
	raw, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	req, err := http.NewRequest(method, c.url+path, bytes.NewReader(raw))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer secret")
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// install posts the webhooks of configs/kubernetes, with an address in place of
// the service.
func (c *cluster) install(address string, ca []byte) {
	text, err := os.ReadFile("../../configs/kubernetes/webhooks.yaml")
	if err != nil {
		c.t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("CABUNDLE"), []byte(base64.StdEncoding.EncodeToString(ca)))
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var d map[string]any
		if err := dec.Decode(&d); err == io.EOF {
			break
		} else if err != nil {
			c.t.Fatal(err)
		}
		hook := d["webhooks"].([]any)[0].(map[string]any)
		config := hook["clientConfig"].(map[string]any)
		config["url"] = address + config["service"].(map[string]any)["path"].(string)
		delete(config, "service")
		resource := strings.ToLower(d["kind"].(string)) + "s"
		if code, body := c.call("POST", "/apis/admissionregistration.k8s.io/v1/"+resource, d); code != http.StatusCreated {
			c.t.Fatalf("found %d %s", code, body)
		}
	}
}

func podOf(name, image string) map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "app", "image": image}}}}
}

// create posts an object; want is empty when it must be let in, else what the
// refusal must say.
func (c *cluster) create(path string, object map[string]any, want string) string {
	c.t.Helper()
	code, body := c.call("POST", path, object)
	if want == "" && code != http.StatusCreated || want != "" && (code < 400 || !strings.Contains(body, want)) {
		c.t.Errorf("found %d %s\nexpected %q", code, body, want)
	}
	return body
}

// TestE2EKubernetes: a real API server with the webhooks of configs/kubernetes.
func TestE2EKubernetes(t *testing.T) {
	reg := newCosigned(t, true)
	signed, unsigned, attested := reg.image("team/signed"), reg.image("team/unsigned"), reg.image("team/attested")
	cosign := cosignBin(t, "cosign3")
	reg.run(cosign, "sign", "--use-signing-config=false", "--tlog-upload=false", "--key", "cosign.key", "-y", signed)
	reg.run(cosign, "attest", "--use-signing-config=false", "--tlog-upload=false", "--key", "cosign.key", "-y",
		"--predicate", "predicate.json", "--type", "slsaprovenance1", attested)
	reg.write("node.yaml", "version: 1\nimages:\n  - match: [\""+reg.host+"/team/**\"]\n    signers: {keys: [{file: cosign.pub}]}\n    trust: {log: 0}\n    requireDigest: true\n")
	decider, err := sign.NewDecider(filepath.Join(reg.dir, "node.yaml"), sign.VerifyOptions{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	webhook := httptest.NewTLSServer(admission.New(decider, admission.Options{}))
	defer webhook.Close()
	c := newCluster(t)
	c.install(webhook.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: webhook.Certificate().Raw}))
	const pods = "/api/v1/namespaces/default/pods"
	// The configuration takes a moment to be in force.
	for i := range 40 {
		if code, _ := c.call("POST", pods, podOf(fmt.Sprintf("early-%d", i), unsigned)); code >= 400 {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	c.create(pods, podOf("signed", signed), "")
	tag, _, _ := strings.Cut(signed, "@")
	if body := c.create(pods, podOf("tag", tag+":1"), ""); !strings.Contains(body, tag+":1@sha256:") {
		t.Errorf("the tag has no digest: %s", body)
	}
	c.create(pods, podOf("unsigned", unsigned), "signers: no signature is attached")
	c.create(pods, podOf("attested", attested), "an attestation is none (1 attestation found)")
	c.create(pods, podOf("foreign", "registry.example/app@"+signed[strings.Index(signed, "sha256:"):]), "cannot be verified")
	template := podOf("", unsigned)
	template["metadata"] = map[string]any{"labels": map[string]any{"a": "b"}}
	c.create("/apis/apps/v1/namespaces/default/deployments", map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "d"},
		"spec": map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"a": "b"}}, "template": template}}, "no signature is attached")
	// What is let in can be changed and deleted, whatever its image.
	if code, body := c.call("DELETE", pods+"/signed?gracePeriodSeconds=0", nil); code != http.StatusOK {
		t.Errorf("found %d %s", code, body)
	}
	webhook.Close()
	c.create(pods, podOf("closed", signed), "failed calling webhook")
}
