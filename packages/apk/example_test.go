package apk_test

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func ExampleCompare() {
	fmt.Println(apk.Compare("1.10-r0", "1.9-r3"))
	fmt.Println(apk.Compare("3.0_rc1", "3.0"))
	// Output:
	// 1
	// -1
}

func ExampleDependency_Matches() {
	d, err := apk.ParseDependency("openssl~=3.1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d, d.Matches("3.1.4-r5"), d.Matches("3.2.0-r0"))
	// Output: openssl~3.1 true false
}

func ExampleParseIndex() {
	text := "P:hello\nV:1.0-r0\nD:so:libc.so.6 !bye\n\nP:world\nV:2-r0\n\n"
	err := apk.ParseIndex(strings.NewReader(text), func(p *apk.Package) error {
		fmt.Println(p.Filename(), len(p.Depends))
		return nil
	})
	fmt.Println(err)
	// Output:
	// hello-1.0-r0.apk 2
	// world-2-r0.apk 0
	// <nil>
}

func ExampleReadHead() {
	key := apktest.NewKey("example.rsa.pub")
	file := apktest.Build(apktest.Spec{Package: apk.Package{Name: "hello", Version: "1.0-r0"}, Sign: key})
	head, err := apk.ReadHead(bufio.NewReader(bytes.NewReader(file)), apk.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	sig, err := apk.VerifySignature(key.Public(), head.Signature, head.Control)
	fmt.Println(head.Package.ID(), sig.Algorithm, sig.KeyName, err)
	// Output: hello-1.0-r0 RSA256 example.rsa.pub <nil>
}
