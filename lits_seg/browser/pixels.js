"use strict";
function isDicom(bytes) { return String.fromCharCode(...bytes.subarray(128, 132)) === "DICM"; }
