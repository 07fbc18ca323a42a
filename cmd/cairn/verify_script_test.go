package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/evidence/evidencetest"
)

// cmdRegistry starts a registry on loopback and sets REGISTRY to its address:
// registry [noreferrers].
func cmdRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: registry [noreferrers]")
	}
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)),
		registry.WithReferrersSupport(len(args) == 0)))
	ts.Defer(s.Close)
	ts.Setenv("REGISTRY", strings.TrimPrefix(s.URL, "http://"))
}

// cmdPush copies the image of a layout to a registry: push LAYOUT REF. DIGEST
// is set to its digest.
func cmdPush(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: push LAYOUT REF")
	}
	root, err := layout.ImageIndexFromPath(ts.MkAbs(args[0]))
	ts.Check(err)
	m, err := root.IndexManifest()
	ts.Check(err)
	ref, err := name.ParseReference(args[1])
	ts.Check(err)
	d := m.Manifests[0]
	if d.MediaType.IsIndex() {
		idx, err := root.ImageIndex(d.Digest)
		ts.Check(err)
		ts.Check(remote.WriteIndex(ref, idx))
	} else {
		img, err := root.Image(d.Digest)
		ts.Check(err)
		ts.Check(remote.Write(ref, img))
	}
	ts.Setenv("DIGEST", d.Digest.String())
}

// keys are those of the running scripts, by the path of the public one.
var scriptKeys = map[string]*evidencetest.Key{}

// cmdKey makes a key pair of which only the public one is written: key FILE.
func cmdKey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: key FILE")
	}
	k := evidencetest.NewKey()
	scriptKeys[ts.MkAbs(args[0])] = k
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), k.PEM(), 0o644))
}

// cmdAttach attaches evidence made with a key to an image: attach KIND FILE REF
// [TYPE PREDICATE-FILE], where KIND is signature, bundle, attestation or
// attestation-bundle.
func cmdAttach(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 && len(args) != 5 {
		ts.Fatalf("usage: attach KIND KEYFILE REF [TYPE PREDICATE-FILE]")
	}
	key := scriptKeys[ts.MkAbs(args[1])]
	image := args[2]
	if strings.HasSuffix(image, "/") {
		image = ts.MkAbs(image) + "/"
	}
	ref, err := target.Parse(image)
	ts.Check(err)
	ctx := context.Background()
	t, err := target.Open(ctx, ref, target.Options{})
	ts.Check(err)
	d, err := t.Resolve(ctx)
	ts.Check(err)
	var predicate any = map[string]any{}
	predicateType := evidencetest.PredicateSignature
	if len(args) == 5 {
		predicateType = args[3]
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[4])), &predicate))
	}
	statement := evidencetest.Statement(d.Digest, "", predicateType, predicate)
	tag := "sha256-" + d.Digest.Hex
	switch args[0] {
	case "signature":
		pushLegacy(ts, t, tag+".sig", key.Legacy(evidencetest.Payload(d.Digest, t.Repository())))
	case "attestation":
		pushLegacy(ts, t, tag+".att", key.LegacyAttestation(statement))
	case "bundle", "attestation-bundle":
		a, err := target.Refer(d, evidencetest.MediaBundle, nil, target.Layer{MediaType: evidencetest.MediaBundle, Content: key.Bundle(statement)})
		ts.Check(err)
		_, err = t.Push(ctx, a)
		ts.Check(err)
	default:
		ts.Fatalf("unknown kind %q", args[0])
	}
}

func pushLegacy(ts *testscript.TestScript, t *target.Target, tag string, l evidencetest.Layer) {
	config := []byte("{}")
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: evidencetest.Digest(config), Size: int64(len(config))},
		Layers: []v1.Descriptor{{MediaType: types.MediaType(l.MediaType), Digest: evidencetest.Digest(l.Content),
			Size: int64(len(l.Content)), Annotations: l.Annotations}}}
	raw, err := json.Marshal(m)
	ts.Check(err)
	_, err = t.Push(context.Background(), target.Artifact{Manifest: raw, MediaType: types.OCIManifestSchema1,
		Blobs: [][]byte{config, l.Content}, Tag: tag})
	ts.Check(err)
}

// cmdNoSockets runs a program that must succeed and must not open a socket:
// nosockets PROGRAM [ARG…]. It watches with strace, or, where that is not
// allowed, takes the network away; where neither works it says so and passes.
func cmdNoSockets(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: nosockets PROGRAM [ARG…]")
	}
	trace := ts.MkAbs("network.trace")
	if ts.Exec("strace", "-f", "-e", "trace=network", "-o", trace, "true") == nil {
		ts.Check(ts.Exec("strace", append([]string{"-f", "-e", "trace=network", "-o", trace}, args...)...))
		for line := range strings.Lines(ts.ReadFile(trace)) {
			if strings.Contains(line, "socket(") || strings.Contains(line, "connect(") {
				ts.Fatalf("a socket is opened: %s", line)
			}
		}
		return
	}
	if ts.Exec("unshare", "-rn", "true") == nil {
		ts.Check(ts.Exec("unshare", append([]string{"-rn"}, args...)...))
		return
	}
	ts.Logf("neither strace nor a network namespace can be used here: not checked")
}
