"""What `wherry plugins new` writes: a working plugin of each kind, as real modules, so that they are checked like all others.

Each folder is one kind. Written out, its modules become a package of the author's own: `wherry_cli.scaffold.KIND` turns into
the package's name, ``vendor.name`` into the plugin's and ``vendor-name`` into the distribution's (`wherry_cli.scaffolding`).
"""
