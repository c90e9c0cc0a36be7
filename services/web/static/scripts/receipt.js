// Offers the receipt that this page holds as a file.

const receipt = JSON.stringify(JSON.parse(document.getElementById("receipt").textContent), null, 2);
const save = document.getElementById("save");
save.href = URL.createObjectURL(new Blob([receipt], { type: "application/json" }));
save.hidden = false;
