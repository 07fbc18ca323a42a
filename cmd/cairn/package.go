package main

import "github.com/spf13/cobra"

// newPackage is the parent of the commands about package definitions and
// packages.
func newPackage(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "package",
		Short: "Work with package definitions and packages",
		Long:  `Work with package definitions (melange's YAML) and with the packages made of them.`,
	}
	cmd.AddCommand(newPackageSign(a), newPackageVerify(a), newPackageShow(a), newPackageLint(a))
	return cmd
}
