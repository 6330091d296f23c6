// npm run build: installs what is missing and compiles the program, so that its commands (`npx myelin ...`) can be used.
import { build, installPackages } from "./prepare.mjs";

installPackages();
build();
