package config_test

import (
	"fmt"

	"github.com/cairn-dev/cairn/assemble/config"
)

func ExampleLoadBytes() {
	cfg, err := config.LoadBytes("image.yaml", []byte(`
contents:
  repositories: [https://packages.example/os]
  packages: [busybox, openssl>=3.1]
entrypoint:
  command: /bin/sh -c 'echo hello'
`), config.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := cfg.Apply(config.Overrides{Packages: []string{"!bash"}, Archs: []string{"x86_64"}}); err != nil {
		fmt.Println(err)
		return
	}
	world, err := cfg.World()
	fmt.Println(world, err)
	fmt.Printf("%q\n", cfg.EntrypointArgs())
	fmt.Println(cfg.Architectures())
	// Output:
	// [!bash busybox openssl>=3.1] <nil>
	// ["/bin/sh" "-c" "echo hello"]
	// [linux/amd64]
}

func ExampleErrors() {
	_, err := config.LoadBytes("image.yaml", []byte("contents:\n  package: [busybox]\narchs: [x86-64]\n"), config.Options{})
	fmt.Println(err)
	// Output:
	// image.yaml:2:3: contents.package: unknown key: expected one of build_repositories, runtime_repositories, repositories, keyring, runtime_keyring, packages, baseimage
	//   hint: did you mean packages?
	// image.yaml:3:9: archs[0]: unknown architecture: found "x86-64", expected one of 386, x86, amd64, x86_64, arm64, aarch64, arm/v6, armhf, arm/v7, armv7, loong64, loongarch64, ppc64le, riscv64, s390x, all, host
	//   hint: did you mean x86_64?
}
