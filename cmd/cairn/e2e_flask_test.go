//go:build e2e

package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/repository"
)

var flaskPackages = []string{"python3-flask", "python3", "ca-certificates", "tzdata", "base-files"}

// debianRepository makes an APK repository of Debian packages and what they
// depend on, and returns it with its key. The packages are downloaded once.
func debianRepository(t *testing.T, packages []string) (dir, key string) {
	t.Helper()
	return debianRepositoryIn(t, "", packages)
}

// debianRepositoryIn is debianRepository in a folder of its own in the cache.
func debianRepositoryIn(t *testing.T, folder string, packages []string) (dir, key string) {
	t.Helper()
	for _, tool := range []string{"apt-get", "dpkg-deb", "python3"} {
		needTool(t, tool)
	}
	script := filepath.Join(filepath.Dir(apktest.Data(t, ".")), "tools", "deb2apk.py")
	if _, err := os.Stat(script); err != nil {
		t.Skipf("no converter: %v", err)
	}
	dir = os.Getenv("CAIRN_E2E_CACHE")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skipf("set CAIRN_E2E_CACHE: %v", err)
		}
		dir = filepath.Join(cache, "cairn-e2e")
	}
	dir = filepath.Join(absolute(t, dir), folder)
	k := apktest.NewKey("debian.rsa.pub")
	made := filepath.Join(dir, "made-of")
	of := fileSum(t, script) + " " + strings.Join(packages, " ")
	if was, err := os.ReadFile(made); err != nil || string(was) != of {
		// The downloads stay; what is made of them is made anew.
		if err := errors.Join(os.RemoveAll(made), os.RemoveAll(filepath.Join(dir, "x86_64"))); err != nil {
			t.Fatal(err)
		}
		// What is installed here must not decide which versions there are.
		nothing, apt := filepath.Join(t.TempDir(), "status"), filepath.Join(t.TempDir(), "apt.conf")
		if err := errors.Join(os.WriteFile(nothing, nil, 0o644),
			os.WriteFile(apt, []byte("Dir::State::status \""+nothing+"\";\nAPT::Sandbox::User \"root\";\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
		t.Log(strings.TrimSpace(mustRun(t, "env", append([]string{"APT_CONFIG=" + apt, "python3", absolute(t, script), dir}, packages...)...)))
		indexDebian(t, filepath.Join(dir, "x86_64"), k)
		if err := os.WriteFile(made, []byte(of), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	key = filepath.Join(t.TempDir(), k.Name)
	if err := os.WriteFile(key, k.PublicPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, key
}

func indexDebian(t *testing.T, dir string, key *apktest.Key) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.apk"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no packages, %v", dir, err)
	}
	var entries []*apk.Package
	for _, name := range files {
		p, err := debianEntry(name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		entries = append(entries, p)
	}
	f, err := os.Create(filepath.Join(dir, "APKINDEX.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	err = repository.WriteIndex(f, entries, repository.WriteOptions{Keys: []repository.SigningKey{{Name: key.Name, Private: key.Private}}})
	if cerr := f.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
}

func debianEntry(name string) (*apk.Package, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head, err := apk.ReadHead(bufio.NewReader(f), apk.Limits{})
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	p := *head.Package
	p.Checksum, p.Size = head.ControlSHA1, fi.Size()
	return &p, nil
}

const flaskApp = `import os, signal, ssl, sys
from flask import Flask
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # process 1 has no default
app = Flask(__name__)

@app.route("/")
def hello():
    return f"hello from {os.getuid()}:{os.getgid()}, {ssl.OPENSSL_VERSION}"

app.run("127.0.0.1", int(os.environ["PORT"]))
`

// Debian's Python and Flask, made into APK packages, run from an image without
// a shell.
func TestE2EFlask(t *testing.T) {
	e, w := newEngine(t), newE2E(t)
	repo, key := debianRepository(t, flaskPackages)
	config := w.path("flask.yaml")
	ca, server := authority(t)
	w.write("flask.yaml", contents(repo, []string{key}, flaskPackages)+
		"certificates:\n  additional:\n    - name: e2e\n      content: |\n"+indented(8, ca)+
		"entrypoint: {command: /usr/bin/python3}\ncmd: /srv/app.py\n"+
		"environment: {PYTHONDONTWRITEBYTECODE: '1'}\n"+
		"accounts: {run-as: '65532', users: [{username: nonroot, uid: 65532}]}\n"+
		"files:\n  - path: /srv/app.py\n    content: |\n"+indented(6, flaskApp)+
		"  - path: /srv/server.pem\n    content: |\n"+indented(6, server))
	made := w.makes(config, "flask:e2e", "flask.tar", "--output=flask/")
	e.load(w.path("flask.tar"))
	got := e.inspect("flask:e2e")
	t.Logf("in the engine: %d layers, %s", len(got.RootFS.Layers), bytesText(got.Size))
	if made.Images[0].Packages < 40 || got.Config.User != "65532" || !cmp.Equal(got.Config.Cmd, []string{"/srv/app.py"}) {
		t.Errorf("%d packages, user %q, cmd %q", made.Images[0].Packages, got.Config.User, got.Config.Cmd)
	}
	t.Run("import", func(t *testing.T) { flaskImports(engine{t}) })
	t.Run("TLS", func(t *testing.T) { flaskTrusts(engine{t}) })
	t.Run("serve", func(t *testing.T) { flaskServes(engine{t}) })
	t.Run("no shell", func(t *testing.T) { flaskHasNoShell(engine{t}) })
	t.Run("loader cache", func(t *testing.T) { flaskUsesLoaderCache(engine{t}) })
	t.Run("ldconfig", func(t *testing.T) { sameAsLdconfig(t, umociUnpack(t, w.path("flask"), "e2e")) })
}

const flaskChecks = `import ctypes, datetime, hashlib, lzma, os, pwd, readline, sqlite3, sys, zoneinfo
import flask, ssl
z = zoneinfo.ZoneInfo('Europe/Zurich')
assert datetime.datetime(2024, 7, 1, tzinfo=z).utcoffset() == datetime.timedelta(hours=2)
print(os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_name)
print('python', sys.version.split()[0], 'flask', flask.__version__, ssl.OPENSSL_VERSION, 'sqlite', sqlite3.sqlite_version,
      'authorities', len(ssl.create_default_context().get_ca_certs()))`

func flaskImports(e engine) {
	out := e.docker("run", "--rm", "--network", "none", "flask:e2e", "-c", flaskChecks)
	user, versions, _ := strings.Cut(strings.TrimSpace(out), "\n")
	if user != "65532 65532 nonroot" || !strings.Contains(versions, "OpenSSL 3.") {
		e.t.Errorf("python says %q", out)
	}
	e.t.Log(versions)
}

// authority makes a certificate authority, and a certificate of its for
// 127.0.0.1 with the key, in PEM.
func authority(t *testing.T) (ca, server string) {
	t.Helper()
	certificate := func(tpl, parent *x509.Certificate, public, signer any) []byte {
		tpl.NotBefore, tpl.NotAfter, tpl.BasicConstraintsValid = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), true
		der, err := x509.CreateCertificate(rand.Reader, tpl, parent, public, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	var keys [2]*ecdsa.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Cairn  E2E Root"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	ca = text("CERTIFICATE", certificate(root, root, keys[0].Public(), keys[0]))
	secret, err := x509.MarshalPKCS8PrivateKey(keys[1])
	if err != nil {
		t.Fatal(err)
	}
	return ca, text("CERTIFICATE", certificate(leaf, root, keys[1].Public(), keys[0])) + text("PRIVATE KEY", secret)
}

// indented makes text a literal block of YAML.
func indented(n int, text string) string {
	prefix := strings.Repeat(" ", n)
	return prefix + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+prefix) + "\n"
}

// A server on loopback has a certificate of an additional authority; it is
// connected to with the bundle, then with OpenSSL's directory, then with a
// directory that has nothing.
const flaskTLS = `import os, socket, ssl, sys, threading
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain('/srv/server.pem')
listener = socket.create_server(('127.0.0.1', 0))
def serve():
    while True:
        c, _ = listener.accept()
        try: tls.wrap_socket(c, server_side=True).close()
        except (ssl.SSLError, OSError): pass
threading.Thread(target=serve, daemon=True).start()
def verifies(**kw):
    client = ssl.create_default_context(**kw)
    try:
        with socket.create_connection(listener.getsockname()) as c, client.wrap_socket(c, server_hostname='127.0.0.1') as s: s.recv(1)
    except ssl.SSLCertVerificationError as e: return e.verify_message
    except (ssl.SSLError, OSError): pass
    return 'verified'
certs = '/etc/ssl/certs'
print(len(ssl.create_default_context(cafile=certs + '/ca-certificates.crt').get_ca_certs()) > 100, sum(n[8:9] == '.' for n in os.listdir(certs)) > 100)
print(verifies(cafile=certs + '/ca-certificates.crt'), verifies(capath=certs), verifies(), verifies(capath='/srv'), sep='; ')`

func flaskTrusts(e engine) {
	out := e.docker("run", "--rm", "--network", "none", "flask:e2e", "-c", flaskTLS)
	if out != "True True\nverified; verified; verified; unable to get local issuer certificate\n" {
		e.t.Errorf("python says %q", out)
	}
}

func flaskServes(e engine) {
	container, port := e.start("flask:e2e")
	if status, body := e.get(container, port, "/"); status != 200 || !strings.HasPrefix(body, "hello from 65532:65532, OpenSSL 3.") {
		e.t.Errorf("status %d: %s", status, body)
	}
	e.stop(container)
}

// flaskHasNoShell: the closure of the packages has none, and nothing makes one.
func flaskHasNoShell(e engine) {
	for _, shell := range []string{"/bin/sh", "sh"} {
		code, _, stderr := tryRun(e.t, "docker", "run", "--rm", "--network", "none", "--entrypoint", shell, "flask:e2e", "-c", "exit 0")
		if code != 127 || !strings.Contains(stderr, "no such file or directory") && !strings.Contains(stderr, "executable file not found") {
			e.t.Errorf("%s: exit code %d: %s", shell, code, stderr)
		}
	}
	shells := regexp.MustCompile(`(^|/)s?bin/(ba|da|a|z|k|c|tc|fi|mk|rba)?sh$|(^|/)(busybox|toybox)$`)
	for path := range e.export("flask:e2e") {
		if shells.MatchString(path) {
			e.t.Errorf("/%s is there", path)
		}
	}
}

// flaskUsesLoaderCache lets glibc's loader tell where it finds libraries.
func flaskUsesLoaderCache(e engine) {
	code, _, trace := tryRun(e.t, "docker", "run", "--rm", "--network", "none", "-e", "LD_DEBUG=libs", "flask:e2e", "-c", "import ssl, sqlite3, lzma")
	if code != 0 {
		e.t.Fatal(trace)
	}
	cached := strings.Count(trace, "search cache=/etc/ld.so.cache")
	if cached < 8 {
		e.t.Errorf("only %d libraries were looked up in /etc/ld.so.cache", cached)
	}
	if i := strings.Index(trace, "(system search path)"); i >= 0 {
		e.t.Errorf("a library was not in the cache: %s", trace[max(0, i-400):i])
	}
	e.t.Logf("%d libraries found in /etc/ld.so.cache", cached)
}

// sameAsLdconfig lets the real ldconfig make the cache anew and compares what
// both hold. Debian's does not look into /lib64, where only the link to the
// loader is; glibc's own does, and so do we.
func sameAsLdconfig(t *testing.T, root string) {
	needTool(t, "ldconfig")
	list := func(cache string) []string {
		var out []string
		for line := range strings.Lines(mustRun(t, "ldconfig", "-p", "-C", cache)) {
			if strings.Contains(line, " => ") && !strings.Contains(line, " => /lib64/") {
				out = append(out, strings.TrimSpace(line))
			}
		}
		slices.Sort(out)
		return out
	}
	ours := list(filepath.Join(root, "etc", "ld.so.cache"))
	if out, err := exec.Command("ldconfig", "-X", "-r", root, "-C", "/etc/check.cache").CombinedOutput(); err != nil {
		t.Fatalf("ldconfig: %v: %s", err, out)
	}
	theirs := list(filepath.Join(root, "etc", "check.cache"))
	if len(theirs) < 40 || !cmp.Equal(ours, theirs) {
		t.Errorf("%d libraries, ldconfig has %d: %s", len(ours), len(theirs), cmp.Diff(theirs, ours))
	}
	t.Logf("%d libraries, as ldconfig has them", len(ours))
}
