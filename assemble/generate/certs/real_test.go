package certs_test

import (
	"bytes"
	"encoding/pem"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/assemble/generate/certs"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// Alpine's bundle: every certificate in it is read; one of them, given again as
// an additional one, gets a file and leaves the bundle as it is.
func TestUpdateAlpineBundle(t *testing.T) {
	pkg := apktest.Data(t, "alpine-3.19-boot", "x86_64", "ca-certificates-bundle-20230506-r0.apk")
	path := certs.BundlePaths()[0]
	bundle := apktest.ReadFile(t, pkg, path)
	all, err := certs.ParseAll(bundle)
	if err != nil || len(all) < 100 {
		t.Fatalf("%d certificates, %v", len(all), err)
	}
	in := certs.Input{Additional: []certs.Named{{Name: "again", PEM: all[7].PEM()}}, Bundles: []certs.File{{Path: path, Content: bundle}}, Created: time.Unix(0, 0)}
	files, err := certs.Update(in)
	if err != nil || len(files) != 1 || files[0].Path != certs.Dir+"/again-"+all[7].Fingerprint+".crt" {
		t.Errorf("%d files, %v", len(files), err)
	}
	// Without it the bundle gets it back, at the end.
	i := bytes.Index(bundle, all[7].PEM())
	in.Bundles[0].Content = append(bytes.Clone(bundle[:i]), bundle[i+len(all[7].PEM()):]...)
	files, err = certs.Update(in)
	if err != nil || len(files) != 2 || !bytes.HasSuffix(files[1].Content, append(all[7].PEM(), '\n')) {
		t.Fatalf("%d files, %v", len(files), err)
	}
	n := 0
	for rest := files[1].Content; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
	}
	if n != len(all) {
		t.Errorf("%d certificates, want %d", n, len(all))
	}
}
