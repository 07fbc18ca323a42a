package policy

import (
	"fmt"
	"strings"
)

// Starter is a policy to begin with, for images that match the pattern.
func Starter(pattern, keyFile string, identity [2]string, trustedRoot string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# yaml-language-server: $schema=%s
# What an image must have to be let in. cairn policy check validates this file.
version: 1
images:
  # The first entry that matches decides; an image that none matches is refused.
  - match: [%q]
    signers:
`, SchemaID, pattern)
	if keyFile != "" {
		fmt.Fprintf(&b, "      keys:\n        - file: %q\n", keyFile)
	}
	if identity[0] != "" {
		fmt.Fprintf(&b, "      identities:\n        - issuer: %q\n          subject: %q\n", identity[0], identity[1])
	}
	b.WriteString("    trust:\n")
	if trustedRoot != "" {
		fmt.Fprintf(&b, "      root: %q\n", trustedRoot)
	} else {
		b.WriteString("      # Signatures in no transparency log are accepted: a stolen key signs unseen.\n      log: 0\n")
	}
	b.WriteString(`    # children: all            # every manifest of an index is signed as well
    # provenance:
    #   builders: ["https://ci.example.com/builder"]
    #   digestPinned: true
    # sbom:
    #   complete: true         # lists exactly what is installed in the image
    # packages:
    #   forbidden: ["openssl<3.1"]
    # maxAge: 30d              # by signed time; needs trust.root
`)
	return b.String()
}
