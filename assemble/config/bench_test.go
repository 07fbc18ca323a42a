package config

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkLoadBytes loads a configuration of the usual size and one with a
// thousand packages.
func BenchmarkLoadBytes(b *testing.B) {
	text := strings.Replace(wholeBase, "include: base/grand.yaml", "", 1)
	var many strings.Builder
	many.WriteString("contents:\n  packages:\n")
	for i := range 1000 {
		fmt.Fprintf(&many, "    - package-%d>=1.%d-r0\n", i, i)
	}
	for name, text := range map[string]string{"usual": text, "1000-packages": many.String()} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := LoadBytes("image.yaml", []byte(text), Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
