package docs

import (
	"os"
	"strings"
	"testing"
)

// go mod tidy drops what nothing links, and these must not be replaced by what
// cannot be had.
func TestModulesArePinned(t *testing.T) {
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"chainguard.dev/apko v1.2.36", "chainguard.dev/sdk v0.1.197",
		"github.com/sigstore/cosign/v2 v2.6.5", "github.com/sigstore/sigstore-go v1.3.0",
	} {
		if !strings.Contains(string(text), want+"\n") {
			t.Errorf("go.mod does not require %s", want)
		}
	}
}
